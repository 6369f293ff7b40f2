#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Adapters of a model whose head is its embedding, and of experts that its class spells otherwise.

    tied_adapters.py make FP32_MODEL_FILE OUT_DIR
    tied_adapters.py check FP32_MODEL_FILE MERGED_FP32_MODEL_FILE TENSOR=WHAT...

FP32_MODEL_FILE is the model without adapters. WHAT is `base` (the embedding as it is), `sum` (with the pair added once),
`more` (all values plus 1), `rows` (with the rows of tokens), `longer` (with them, and the first of them once more as the
last row), or `none` (there is no such tensor). `experts` stands alone: with the pairs on the stacks, tensors w1, w2 and
w3 of all experts.
"""
import os
import random
import struct
import sys

from checkpoint import read_safetensors, write_json, write_safetensors

RANK, SCALE, TOKENS, ROWS = 3, 2.0, (0, 2), 5
CONFIG = {"peft_type": "LORA", "r": RANK, "lora_alpha": SCALE * RANK}
EMBEDDING = "model.embed_tokens"
P = "base_model.model."
EXPERTS = "model.layers.0.block_sparse_moe.experts."


def read(path):
    return {n: (shape, struct.unpack("<%df" % (len(raw) // 4), raw))
            for n, (_, shape, raw) in read_safetensors(path).items()}


def write(out, config, tensors):
    name = "adapter_model.safetensors" if "peft_type" in config else "adapters.safetensors"
    os.makedirs(out)
    write_safetensors(os.path.join(out, name), {
        n: ("F32", shape, struct.pack("<%df" % len(values), *values)) for n, (shape, values) in tensors.items()})
    write_json(out, "adapter_config.json", config)


def noise(*shape):
    return list(shape), [random.gauss(0, 0.1) for _ in range(shape[0] * shape[1])]


def transposed(tensor):
    (rows, columns), values = tensor
    return [columns, rows], [values[i * columns + k] for k in range(columns) for i in range(rows)]


def factors(model):
    """The pair and the rows of tokens; the same ones for one model."""
    random.seed(7)
    rows, width = model[EMBEDDING + ".weight"][0]
    return noise(RANK, rows), noise(width, RANK), noise(len(TOKENS), width)


def expert_factors(model):
    """Of the layer's experts: A and B on w2, A and B on w1 and w3 together."""
    random.seed(8)
    hidden, inner = model[EXPERTS + "0.w2.weight"][0]
    count = sum(name.startswith(EXPERTS) and name.endswith("w2.weight") for name in model)
    return (count, noise(count * RANK, inner), noise(hidden, count * RANK), noise(count * RANK, hidden),
            noise(2 * inner, count * RANK))


def make(path, out):
    model = read(path)
    a, b, rows = factors(model)
    embedding = {P + EMBEDDING + ".lora_embedding_A": a, P + EMBEDDING + ".lora_embedding_B": b}
    head = {P + "lm_head.lora_A.weight": transposed(b), P + "lm_head.lora_B.weight": transposed(a)}
    tied = {**CONFIG, "ensure_weight_tying": True}
    write(out + "/embedding", CONFIG, embedding)
    write(out + "/head", CONFIG, head)
    write(out + "/both", tied, {**embedding, **head})
    head[P + "lm_head.lora_B.weight"][1][-1] += 1
    write(out + "/unlike", tied, {**embedding, **head})
    write(out + "/mlx", {"fine_tune_type": "lora", "lora_parameters": {"rank": RANK, "scale": SCALE}},
          {EMBEDDING + ".lora_a": transposed(a), EMBEDDING + ".lora_b": transposed(b)})
    write(out + "/tokens", {**CONFIG, "trainable_token_indices": {"lm_head": TOKENS}},
          {P + "lm_head.token_adapter.trainable_tokens_delta": rows})
    (count, width), values = model[EMBEDDING + ".weight"]
    longer = [count + 1, width], [*values, *rows[1][:width]]
    resized = {}
    for module in EMBEDDING, "lm_head":
        resized[P + module + ".token_adapter.base_layer.weight"] = longer
        resized[P + module + ".token_adapter.trainable_tokens_delta"] = rows
    write(out + "/resized", {**CONFIG, "trainable_token_indices": TOKENS}, resized)
    saved = {}
    for module in EMBEDDING, "lm_head":
        for name in "weight", "modules_to_save.weight", "original_module.weight":
            saved[f"{P}{module}.{name}"] = [count, width], [v + (name != "original_module.weight") for v in values]
    write(out + "/saved", CONFIG, saved)
    if EXPERTS + "0.w2.weight" in model:
        stack = P + "model.layers.0.mlp.experts."
        _, down_a, down_b, up_a, up_b = expert_factors(model)
        write(out + "/experts", CONFIG,
              {stack + "lora_A.weight": down_a, stack + "lora_B.weight": down_b,
               stack + "base_layer.lora_A.weight": up_a, stack + "base_layer.lora_B.weight": up_b})


def some_rows(tensor):
    """Of a tensor the first rows, and the last."""
    (rows, width), values = tensor
    return values[:ROWS * width] + values[(rows - 1) * width:]


def added(base, left, right):
    """Some rows of base + SCALE * left * right, rounded once; left and right are functions of an index and the rank's."""
    (rows, width), values = base
    sums = []
    for n in [*range(ROWS), rows - 1]:
        row = [left(n, i) for i in range(RANK)]
        for k in range(width):
            d = 0.0
            for i in range(RANK):
                d += row[i] * right(i, k)
            sums.append(values[n * width + k] + SCALE * d)
    return struct.unpack("<%df" % len(sums), struct.pack("<%df" % len(sums), *sums))


def rounded(tensor):
    shape, values = tensor
    return shape, struct.unpack("<%df" % len(values), struct.pack("<%df" % len(values), *values))


def wanted(base, model, what):
    (_, a), (_, b), (_, rows) = map(rounded, factors(model))
    count, width = base[0]
    if what == "more":
        return some_rows(rounded((base[0], [v + 1 for v in base[1]])))
    if what == "sum":
        return added(base, lambda n, i: a[i * count + n], lambda i, k: b[k * RANK + i])
    values = list(base[1])
    for i, token in enumerate(TOKENS if what != "base" else ()):
        values[token * width:(token + 1) * width] = rows[i * width:(i + 1) * width]
    if what == "longer":
        values += rows[:width]
    return some_rows(([len(values) // width, width], tuple(values)))


def check_experts(model, merged):
    count, *four = expert_factors(model)
    (_, down_a), (_, down_b), (_, up_a), (_, up_b) = map(rounded, four)
    inner = model[EXPERTS + "0.w1.weight"][0][0]
    for name, a, b, first in ("w1", up_a, up_b, 0), ("w2", down_a, down_b, 0), ("w3", up_a, up_b, inner):
        for e in range(count):
            full = f"{EXPERTS}{e}.{name}.weight"
            width = model[full][0][1]
            assert some_rows(merged[full]) == added(model[full],
                                            lambda n, i: b[(first + n) * count * RANK + i * count + e],
                                            lambda i, k: a[(e * RANK + i) * width + k]), full


def check(path, merged_path, what):
    model, merged = read(path), read(merged_path)
    if what == ["experts"]:
        check_experts(model, merged)
        return
    for name, kind in (w.split("=") for w in what):
        assert (name in merged) == (kind != "none"), f"{name}: {name in merged}"
        if kind != "none":
            assert some_rows(merged[name]) == wanted(model[EMBEDDING + ".weight"], model, kind), f"{name} is not {kind}"


if sys.argv[1] == "make":
    make(*sys.argv[2:])
else:
    check(sys.argv[2], sys.argv[3], sys.argv[4:])
