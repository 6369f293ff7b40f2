#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares the output of gptqfs --stats --json with sums of its own.

    stats.py JSON MODEL_DIR FP32_DIR OTHER_DIR

Weights are those of two exported views, whose bytes other tests compare with independent decoders; codes and scales are
those of the checkpoint. Sums are exact (math.fsum), so they agree with any order of additions in double.
"""

import array
import glob
import json
import math
import os
import statistics
import struct
import sys

from checkpoint import decode_f8

TOLERANCE = 1e-9
FLOATS = {"FP8", "MXFP4", "MXFP6", "NVFP4", "bnb-nf4", "bnb-fp4", "bnb-int8"}
SCALES = (".scales", ".scale", ".weight_scale", ".weight_scale_inv", ".absmax", ".embedding_scale", "_scales",
          "_scale_inv", "_scale")


def read_tensors(directory):
    tensors = {}
    for path in glob.glob(os.path.join(directory, "*.safetensors")):
        with open(path, "rb") as file:
            data = file.read()
        end = 8 + struct.unpack_from("<Q", data)[0]
        for name, entry in json.loads(data[8:end]).items():
            if name != "__metadata__":
                begin, stop = entry["data_offsets"]
                tensors[name] = entry["dtype"], entry["shape"], data[end + begin:end + stop]
    return tensors


def numbers(tensor):
    dtype, _, data = tensor
    if dtype == "F32":
        return array.array("f", data)
    if dtype == "BF16":
        halves = array.array("H", data)
        return array.array("f", array.array("I", (half << 16 for half in halves)).tobytes())
    if dtype == "F16":
        return [x[0] for x in struct.iter_unpack("<e", data)]
    if dtype in ("F8_E8M0", "U8"):
        return [math.nan if byte == 255 else math.ldexp(1, byte - 127) for byte in data]
    if dtype == "F8_E4M3":
        return [decode_f8(byte, dtype) for byte in data]
    raise ValueError(dtype)


def same(what, got, want):
    if want is None or got is None:
        assert got is want, f"{what}: {got}, expected {want}"
    else:
        assert abs(got - want) <= TOLERANCE * abs(want), f"{what}: {got!r}, expected {want!r}"


def find(tensors, module):
    return tensors.get(module + ".weight") or tensors.get(module)


def check_weights(module, w, w0, columns):
    name = module["name"]
    squares = math.fsum(x * x for x in w)
    same(f"{name} rms", module["rms"], math.sqrt(squares / len(w)))
    same(f"{name} absmax", module["absmax"], max(abs(x) for x in w))
    got = module["against"]
    others = math.fsum(y * y for y in w0)
    errors = [x - y for x, y in zip(w, w0)]
    error = math.fsum(d * d for d in errors)
    greatest = max(abs(d) for d in errors)
    at = next(i for i, d in enumerate(errors) if abs(d) == greatest)
    same(f"{name} rel_error", got["rel_error"], math.sqrt(error / others))
    same(f"{name} sqnr_db", got["sqnr_db"], 10 * math.log10(others / error) if error else None)
    same(f"{name} max_abs", got["max_abs"], greatest)
    assert got["max_at"] == [at // columns, at % columns], f"{name} max_at: {got['max_at']}"
    same(f"{name} cosine", got["cosine"], math.fsum(x * y for x, y in zip(w, w0)) / math.sqrt(squares * others))


def fields(data, bits):
    """The fields of a stream of bits, lowest first."""
    stream = int.from_bytes(data, "little")
    return [stream >> at & (1 << bits) - 1 for at in range(0, len(data) * 8 - bits + 1, bits)]


def small_float(code, bits, mantissa_bits, bias):
    """The value of a code with a sign, an exponent and a mantissa, and without infinities and NaN."""
    sign, magnitude = code >> bits - 1, code & (1 << bits - 1) - 1
    exponent, mantissa = magnitude >> mantissa_bits, magnitude & (1 << mantissa_bits) - 1
    scaled = mantissa + (1 << mantissa_bits) if exponent else mantissa
    return (-1) ** sign * math.ldexp(scaled, max(exponent, 1) - bias - mantissa_bits)


# Of bitsandbytes: what the halves of bytes stand for, in twelfths for fp4, where the smallest is 1/16 of 1/12.
BNB_FP4 = [0, 1 / 16, 8, 12, 4, 6, 2, 3]
MEANINGS = {
    "MXFP4": lambda code: small_float(code, 4, 1, 1),
    "NVFP4": lambda code: small_float(code, 4, 1, 1),
    "MXFP6": lambda code: small_float(code, 6, 3, 1),
    "bnb-fp4": lambda code: BNB_FP4[code & 7] * (-1 if code & 8 else 1),
}


def float_codes(stored, module):
    """The codes of a format of floats, and a function from a code to its value in some unit."""
    name, kind = module["name"], module["format"]
    tensor = find(stored, name) or stored.get(name + ".weight_packed") or stored.get(name + "_blocks")
    dtype, shape, data = tensor
    if kind == "FP8":
        return list(data), lambda code: decode_f8(code, dtype)
    if kind == "bnb-int8":
        return [byte ^ 0x80 for byte in data], lambda code: code
    codes = fields(data, module["bits"])
    if kind.startswith("bnb-"):
        count = math.prod(module["shape"])
        codes = [code for byte in data for code in (byte >> 4, byte & 15)][:count]
    return codes, MEANINGS.get(kind, lambda code: code)


def stored_codes(stored, module):
    """The codes of a module in any order, where the layout of its tensor is as simple as that."""
    name, bits = module["name"], module["bits"]
    if name + ".qweight" in stored and bits == 4:
        return fields(stored[name + ".qweight"][2], 4)
    if name + ".weight_packed" in stored and bits in (2, 4, 8) and module["codes"]:
        return fields(stored[name + ".weight_packed"][2], bits)
    if name + ".W_q" in stored and bits in (2, 4, 8):
        return fields(stored[name + ".W_q"][2], bits)
    if module["format"] == "MLX" and name + ".weight" in stored:
        _, shape, data = stored[name + ".weight"]
        row = shape[-1] * 4
        return [code for at in range(0, len(data), row) for code in fields(data[at:at + row], bits)]
    return None


def check_codes(module, codes, value=lambda code: code):
    got = module["codes"]
    ends = [code for code in range(1 << module["bits"]) if math.isfinite(value(code))]
    histogram = [codes.count(i) for i in range(1 << module["bits"])]
    assert got["histogram"] == histogram, f"{module['name']}: {got['histogram']}, expected {histogram}"
    shares = [n / len(codes) for n in histogram]
    same("entropy", got["entropy"], -math.fsum(p * math.log2(p) for p in shares if p))
    same("lowest", got["lowest"], shares[min(ends, key=value)])
    same("highest", got["highest"], shares[max(ends, key=value)])


def check_scales(stored, module):
    name = module["name"]
    tensor = next((stored[name + suffix] for suffix in SCALES if name + suffix in stored), None)
    got = module["scales"]
    if tensor is None or (tensor[0] == "U8" and got is None):
        return False
    values = list(numbers(tensor))
    finite = [x for x in values if math.isfinite(x)]
    assert got["zero"] == values.count(0) and got["not_finite"] == len(values) - len(finite), name
    same(f"{name} min", got["min"], min(finite))
    same(f"{name} median", got["median"], statistics.median(finite))
    same(f"{name} max", got["max"], max(finite))
    return True


def main():
    with open(sys.argv[1]) as file:
        stats = json.load(file)
    stored, dense, other = (read_tensors(directory) for directory in sys.argv[2:5])
    seen = {"weights": 0, "codes": 0, "scales": 0}
    for module in stats["modules"]:
        pair = find(dense, module["name"]), find(other, module["name"])
        assert module["against"] is not None, f"{module['name']} is not compared"
        if all(pair):
            assert module["shape"] == pair[0][1], module["name"]
            check_weights(module, numbers(pair[0]), numbers(pair[1]), module["shape"][-1])
            seen["weights"] += 1
        if module["format"] in FLOATS:
            check_codes(module, *float_codes(stored, module))
            seen["codes"] += 1
        else:
            codes = stored_codes(stored, module)
            if codes:
                check_codes(module, codes)
                seen["codes"] += 1
        seen["scales"] += check_scales(stored, module)
    assert stats["total"]["modules"] == len(stats["modules"]) and stats["total"]["complete"]
    print(len(stats["modules"]), *(f"{key}={count}" for key, count in seen.items()))


main()
