# SPDX-License-Identifier: MIT
"""A small, slow dequantizer of GPTQ checkpoints in numpy, written from the description of the formats and sharing
nothing with gptqfs: packed words become single bits, bits become codes. The reference for the mount.

    dense.py MODEL_DIR OUT_DIR F16|BF16|F32      write an ordinary, dense model directory
"""
import glob
import json
import os
import shutil
import struct
import sys

import numpy as np

# BF16 has no numpy type: its bits are kept.
NUMPY = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "u1"}
FLOATS = ("F16", "BF16", "F32")
TORCH = {"F16": "float16", "BF16": "bfloat16", "F32": "float32"}
# Classes that hold gate and up as one module while GPTQModel stores them apart; gate's rows come first.
JOINED_MLP = ("phi3", "glm", "glm4")


def read_header(path):
    with open(path, "rb") as f:
        length = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(length))
    header.pop("__metadata__", None)
    return 8 + length, header


def read_safetensors(path):
    start, header = read_header(path)
    with open(path, "rb") as f:
        f.seek(start)
        data = f.read()
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        raw = np.frombuffer(data[begin:end], NUMPY[entry["dtype"]])
        tensors[name] = (entry["dtype"], raw.reshape(entry["shape"]))
    return tensors


def to_float32(dtype, a):
    return (a.astype("<u4") << 16).view("<f4") if dtype == "BF16" else a.astype("<f4")


def from_float32(a, dtype):
    """Rounds once to nearest, ties to even; NaN becomes the canonical one."""
    nan = np.isnan(a)
    if dtype == "BF16":
        u = np.ascontiguousarray(a).view("<u4")
        r = ((u + np.uint32(0x7FFF) + ((u >> 16) & 1)) >> 16).astype("<u2")
        return np.where(nan, np.uint16(0x7FC0), r)
    if dtype == "F16":
        with np.errstate(over="ignore", invalid="ignore"):
            r = a.astype("<f2")
        return np.where(nan, np.uint16(0x7E00).view("<f2"), r)
    return np.where(nan, np.uint32(0x7FC00000).view("<f4"), a)


def codes(words, bits, planar, count):
    """[rows, words] of uint32 -> [rows, count] codes, least significant bit first."""
    stream = np.unpackbits(np.ascontiguousarray(words).view("u1"), axis=1, bitorder="little")
    if not planar:
        values = stream[:, : count * bits].reshape(-1, count, bits)
        return (values.astype("<i4") << np.arange(bits)).sum(axis=2)
    # 32 values in `bits` words: planes of 4, 2 and 1 bits (3: 2 and 1), low bits first, each a stream of its own.
    widths = {3: (2, 1), 5: (4, 1), 6: (4, 2), 7: (4, 2, 1)}[bits]
    blocks = stream.reshape(len(words), -1, 32 * bits)
    value = np.zeros(blocks.shape[:2] + (32,), "<i4")
    shift = 0
    for width in widths:
        plane = blocks[:, :, 32 * shift : 32 * (shift + width)].reshape(blocks.shape[:2] + (32, width))
        value |= (plane.astype("<i4") << (shift + np.arange(width))).sum(axis=3)
        shift += width
    return value.reshape(len(words), -1)[:, :count]


def dequantize(module, tensors, config):
    """float32 [out_features, in_features]; for F16 scales and at most 8 bits the products are exact."""
    qweight, qzeros = (tensors[f"{module}.{part}"][1].view("<u4") for part in ("qweight", "qzeros"))
    scales = to_float32(*tensors[f"{module}.scales"])
    groups, n = scales.shape
    g_idx = tensors.get(f"{module}.g_idx")
    if g_idx is not None:
        g_idx = g_idx[1]
        bits = qweight.shape[0] * 32 // len(g_idx)
    else:
        bits = qzeros.shape[1] * 32 // n
        k = qweight.shape[0] * 32 // bits
        g_idx = np.arange(k) // (config["group_size"] if config["group_size"] > 0 else k)
    label = config.get("checkpoint_format") or config.get("format") or config.get("packing_format") or "gptq"
    planar = bits in (5, 6, 7) or (bits == 3 and label == "gptq_p")
    stored_minus_one = not planar and label in ("gptq", "auto_round:auto_gptq", "auto_round:gptq")
    if stored_minus_one and bits != 3:
        # Writers subtract from the whole word and let the borrow run: so add to the whole word.
        qzeros = qzeros + np.uint32(sum(1 << shift for shift in range(0, 32, bits)))
    zeros = codes(qzeros, bits, planar, n)
    if stored_minus_one and bits == 3:
        zeros = (zeros + 1) & 7
    q = codes(qweight.T, bits, planar, len(g_idx))
    return scales.T[:, g_idx] * (q - zeros.T[:, g_idx]).astype("<f4")


def load(model_dir):
    """name -> (dtype, array) of the dense model; quantized modules are float32 and called "PRODUCT"."""
    with open(os.path.join(model_dir, "config.json")) as f:
        model_config = json.load(f)
    config = model_config.get("quantization_config") or {}
    path = os.path.join(model_dir, "quantize_config.json")
    if os.path.exists(path):
        with open(path) as f:
            config = json.load(f)
    tensors = {}
    for path in glob.glob(os.path.join(model_dir, "*.safetensors")):
        tensors.update(read_safetensors(path))
    dense = {}
    for name, tensor in tensors.items():
        module, _, part = name.rpartition(".")
        if part == "qweight":
            dense[f"{module}.weight"] = ("PRODUCT", dequantize(module, tensors, config))
        elif f"{module}.qweight" not in tensors or part == "bias":
            dense[name] = tensor
    if model_config["model_type"] in JOINED_MLP:
        for name in [n for n in dense if n.endswith(".mlp.gate_proj.weight")]:
            mlp = name[: -len("gate_proj.weight")]
            gate, up = dense.pop(name), dense.pop(f"{mlp}up_proj.weight")
            assert gate[0] == up[0]
            dense[f"{mlp}gate_up_proj.weight"] = (gate[0], np.concatenate([gate[1], up[1]]))
    return dense


def cast(dense, dtype):
    """name -> (dtype, array) as a view of this type must hold them."""
    result = {}
    for name, (stored, a) in dense.items():
        if stored == "PRODUCT":
            result[name] = (dtype, from_float32(a, dtype))
        elif stored in FLOATS and stored != dtype:
            result[name] = (dtype, from_float32(to_float32(stored, a), dtype))
        else:
            result[name] = (stored, a)
    return result


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, a) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(a.shape), "data_offsets": [offset, offset + a.nbytes]}
        offset += a.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, a in tensors.values():
            f.write(np.ascontiguousarray(a).tobytes())


def write_model(model_dir, out_dir, tensors, dtype):
    os.makedirs(out_dir)
    for path in glob.glob(os.path.join(model_dir, "*")):
        name = os.path.basename(path)
        if not name.endswith((".safetensors", ".index.json")) and not name.startswith("quant"):
            shutil.copyfile(path, os.path.join(out_dir, name))
    with open(os.path.join(model_dir, "config.json")) as f:
        config = json.load(f)
    config.pop("quantization_config", None)
    config["dtype"] = config["torch_dtype"] = TORCH[dtype]
    with open(os.path.join(out_dir, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
    write_safetensors(os.path.join(out_dir, "model.safetensors"), tensors)


if __name__ == "__main__":
    write_model(sys.argv[1], sys.argv[2], cast(load(sys.argv[1]), sys.argv[3]), sys.argv[3])
