#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes a LoRA adapter for any model, and checks a merge with it by sums of doubles.

    adapter.py make FP32_VIEW OUT_DIR [matrices]
    adapter.py check FP32_VIEW MERGED_FP32_VIEW MERGED_FP16_VIEW ADAPTER_DIR

The adapter has a pair of rank 3 on every matrix of the layers of the view, and on every stack of experts (as PEFT's
target_parameters has it), unless `matrices` alone are wanted. Some rows of each tensor are checked, all columns of them: Python's floats are doubles, and
struct rounds them once.
"""
import json
import os
import random
import struct
import sys

RANK, ALPHA = 3, 4
CONV1D = ("c_attn", "c_proj", "c_fc")
ROWS = 6


def shards(view):
    index = os.path.join(view, "model.safetensors.index.json")
    if not os.path.exists(index):
        return [os.path.join(view, "model.safetensors")]
    with open(index) as f:
        return [os.path.join(view, s) for s in sorted(set(json.load(f)["weight_map"].values()))]


def headers(view):
    """Of each tensor its type and shape, and where it is."""
    out = {}
    for path in shards(view):
        with open(path, "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            for name, t in json.loads(f.read(size)).items():
                if name != "__metadata__":
                    out[name] = t["dtype"], t["shape"], path, 8 + size + t["data_offsets"][0]
    return out


def read_row(entry, row, columns):
    dtype, _, path, at = entry
    width = {"F32": 4, "F16": 2}[dtype]
    with open(path, "rb") as f:
        f.seek(at + row * columns * width)
        return struct.unpack("<%d%s" % (columns, "f" if width == 4 else "e"), f.read(columns * width))


def pairs(entries):
    """Of each tensor that gets a pair: names of the factors, and the shapes of the product by expert."""
    stacks = {}
    for name, (dtype, shape, *_) in sorted(entries.items()):
        if ".layers." not in name and ".h." not in name or dtype != "F32":
            continue
        module = name[:-len(".weight")] if name.endswith(".weight") else name
        if len(shape) == 2 and name.endswith(".weight") and "embed" not in name:
            transposed = module.rsplit(".", 1)[-1] in CONV1D
            yield name, module, transposed, 1, (shape[1], shape[0]) if transposed else (shape[0], shape[1])
        elif len(shape) == 3:
            layer = module.rsplit(".", 1)[0]
            depth = stacks.get(layer, 0)
            stacks[layer] = depth + 1
            yield name, layer + ".base_layer" * depth, False, shape[0], (shape[1], shape[2])


def factors(module):
    return f"base_model.model.{module}.lora_A.weight", f"base_model.model.{module}.lora_B.weight"


def make(view, out, only=""):
    random.seed(1)
    header, data = {}, b""
    for _, module, _, experts, (rows, columns) in pairs(headers(view)):
        if only and experts > 1:
            continue
        rank = RANK * experts
        for name, shape in zip(factors(module), ([rank, columns], [rows, rank])):
            n = shape[0] * shape[1]
            part = struct.pack("<%df" % n, *(random.gauss(0, 0.1) for _ in range(n)))
            header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
            data += part
    text = json.dumps(header).encode()
    os.makedirs(out)
    with open(os.path.join(out, "adapter_model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)
    with open(os.path.join(out, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA}, f)


def read_factors(adapter):
    with open(os.path.join(adapter, "adapter_model.safetensors"), "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header, data = json.loads(f.read(size)), f.read()
    return {n: struct.unpack("<%df" % ((e - b) // 4), data[b:e])
            for n, t in header.items() for b, e in [t["data_offsets"]]}


def check_tensor(name, base, fp32, fp16, layout):
    """Compares some rows; `layout` is (A, B, transposed, experts, columns of the product)."""
    a, b, transposed, experts, columns = layout
    shape = base[name][1]
    height, width = shape[-2], shape[-1]
    rank = RANK * experts
    for row in sorted(random.sample(range(height * experts), min(ROWS, height * experts))):
        expert, n = divmod(row, height)
        expected = []
        for k, w in enumerate(read_row(base[name], row, width)):
            o, i = (k, n) if transposed else (n, k)
            d = 0.0
            for r in range(RANK):
                d += b[o * rank + r * experts + expert] * a[(expert * RANK + r) * columns + i]
            expected.append(w + ALPHA / RANK * d)
        for view, kind in (fp32, "f"), (fp16, "e"):
            bits = read_row(view[name], row, width)
            rounded = struct.unpack("<%d%s" % (width, kind), struct.pack("<%d%s" % (width, kind), *expected))
            assert bits == rounded, f"{name}, row {row} as {kind}: {bits[:3]} is not {rounded[:3]}"


def check(base_view, fp32_view, fp16_view, adapter):
    random.seed(2)
    base, fp32, fp16, values = headers(base_view), headers(fp32_view), headers(fp16_view), read_factors(adapter)
    count = 0
    for name, module, transposed, experts, (_, columns) in pairs(base):
        a, b = factors(module)
        if a not in values:
            continue
        check_tensor(name, base, fp32, fp16, (values[a], values[b], transposed, experts, columns))
        count += 1
    assert count, "no tensor to compare"
    print(f"{count} tensors agree")


{"make": make, "check": check}[sys.argv[1]](*sys.argv[2:])
