# SPDX-License-Identifier: MIT
"""Compares mlx/ with the dense views: mlx.py MLX_DIR FP16_DIR FP32_DIR.

Dequantizes as MLX does, in steps of fp32, with arithmetic of its own: every number is that of the fp32 view, and all
bits are, but for a zero that is negative there. What is not quantized has the bytes of the fp16 view. config.json says
what the file has, and every tensor of the model has its place.
"""
import json
import os
import re
import struct
import sys
from array import array

from compare import read_header, shards

PLACES = (
    (r"(.*\.mlp)\.experts\.(\d+)\.(gate_proj|up_proj|down_proj)\.(.*)", {}),
    (r"(.*\.block_sparse_moe)\.experts\.(\d+)\.(w[123])\.(.*)", {"w1": "gate_proj", "w2": "down_proj", "w3": "up_proj"}),
)


def read(directory):
    """Tensors of a directory by name: type, shape, bytes."""
    tensors = {}
    for path in shards(directory)[0]:
        start, header = read_header(path)
        with open(path, "rb") as f:
            data = f.read()
        for name, t in header.items():
            begin, end = t["data_offsets"]
            tensors[name] = t["dtype"], t["shape"], data[start + begin : start + end]
    return tensors


def floats(dtype, data):
    """Numbers of a tensor, exact as doubles."""
    if dtype == "BF16":
        return array("f", b"".join(b"\0\0" + data[i : i + 2] for i in range(0, len(data), 2)))
    return struct.unpack(f"<{len(data) // (4 if dtype == 'F32' else 2)}{'f' if dtype == 'F32' else 'e'}", data)


def dequantize(words, scales, biases, group, bits):
    """A sum of two floats is exact, or rounded harmlessly, as a double; array("f") rounds it to fp32."""
    dtype, shape, data = words
    assert dtype == "U32" and scales[0] == biases[0] and scales[1] == biases[1] and shape[:-1] == scales[1][:-1]
    columns = shape[-1] * 32 // bits
    assert columns * bits == shape[-1] * 32 and columns == scales[1][-1] * group
    s, b = floats(*scales[::2]), floats(*biases[::2])
    mask, size = (1 << bits) - 1, group * bits // 8
    out = array("f")
    for i, (scale, bias) in enumerate(zip(s, b)):
        stream = int.from_bytes(data[i * size : (i + 1) * size], "little")
        products = array("f", (scale * (stream >> n * bits & mask) for n in range(group)))
        out.extend(p + bias for p in products)
    assert len(data) == len(s) * size
    return out


def expected_names(dense, tied):
    """Where the class of mlx-lm has each tensor of the model: the names of its experts in order."""
    places = {}
    for name in dense:
        if tied and name.startswith("lm_head."):
            continue
        to, number = name, 0
        for pattern, names in PLACES:
            if match := re.fullmatch(pattern, name):
                layer, number, projection, rest = match.groups()
                to = f"{layer}.switch_mlp.{names.get(projection, projection)}.{rest}"
        places.setdefault(to, []).append((int(number), name))
    return {to: [name for _, name in sorted(parts)] for to, parts in places.items()}


def differences(mlx, fp16, fp32):
    found, rounded, dense = read(mlx), read(fp16), read(fp32)
    with open(os.path.join(mlx, "config.json"), encoding="utf-8") as f:
        config = json.load(f)
    said = config["quantization"]
    if config["quantization_config"] != said or said["mode"] != "affine":
        yield "config.json says different things"
    if list(found) != sorted(found):
        yield "tensors are not in order of their names"
    used = set()
    for name, parts in expected_names(dense, config.get("tie_word_embeddings")).items():
        module = name.removesuffix(".weight")
        shape = dense[parts[0]][1]
        shape = [len(parts), *shape] if name != parts[0] else shape
        if name == module or module + ".scales" not in found:
            used.add(name)
            if found.get(name) != (rounded[parts[0]][0], shape, b"".join(rounded[p][2] for p in parts)):
                yield f"{name} is not as in {fp16}"
            continue
        pieces = [module + suffix for suffix in (".weight", ".scales", ".biases")]
        used.update(pieces)
        own = said.get(module, said)
        words, scales, biases = (found[p] for p in pieces)
        group, bits = own["group_size"], own["bits"]
        if group not in (32, 64, 128) or bits not in (2, 3, 4, 5, 6, 8) or own["mode"] != "affine":
            yield f"{module}: MLX has no {own}"
        got = dequantize(words, scales, biases, group, bits).tobytes()
        want = b"".join(dense[p][2] for p in parts)
        if len(got) != len(want) or words[1][:-1] != shape[:-1]:
            yield f"{name}: {words[1]} words, the model has {shape}"
        elif got != want:
            # In place of -0.0 there is 0.0.
            pairs = zip(array("I", got), array("I", want))
            if wrong := sum(a != b and (a, b) != (0, 0x80000000) for a, b in pairs):
                yield f"{name}: {wrong} of {len(want) // 4} values differ"
    if set(found) != used:
        yield f"other names: {sorted(set(found) ^ used)[:5]}"
    if not any(name.endswith(".scales") for name in found):
        yield "nothing is quantized"


if __name__ == "__main__":
    lines = list(differences(*sys.argv[1:]))
    if lines:
        print("\n".join(lines[:20]))
    sys.exit(bool(lines))
