#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes a LoRA adapter for measurements: a pair of F32 factors for every GPTQ module of a model, of numbers that mean
nothing.

    make_adapter.py MODEL_DIR RANK DIR
"""
import array
import glob
import json
import os
import random
import struct
import sys

CODES_PER_WORD = 8  # of 4 bits


def modules(model):
    for path in sorted(glob.glob(os.path.join(model, "*.safetensors"))):
        with open(path, "rb") as f:
            header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        for name, t in sorted(header.items()):
            if name.endswith(".qweight"):
                yield name[:-len(".qweight")], t["shape"][0] * CODES_PER_WORD, t["shape"][1]


def main():
    model, rank, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    header, at = {}, 0
    for name, inputs, outputs in modules(model):
        for part, shape in ("A", [rank, inputs]), ("B", [outputs, rank]):
            size = 4 * shape[0] * shape[1]
            header[f"base_model.model.{name}.lora_{part}.weight"] = {
                "dtype": "F32", "shape": shape, "data_offsets": [at, at + size]}
            at += size
    rng = random.Random(1)
    block = array.array("f", (rng.uniform(-0.02, 0.02) for _ in range(1 << 16))).tobytes()
    text = json.dumps(header).encode()
    os.makedirs(out)
    with open(os.path.join(out, "adapter_model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        while at > 0:
            f.write(block[:at])
            at -= len(block)
    with open(os.path.join(out, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "r": rank, "lora_alpha": 2 * rank}, f)


main()
