#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""mlx/ as mlx and mlx-lm read it: every module dequantizes to the numbers of the fp32 view, and every model loads, with
all names and shapes those of its class.

    mlx_view.py GPTQFS WORK MODEL_DIR...

The first model is the real one, whose greedy text must be that of the fp16 view. Not every model has mlx/.
"""
import gc
import glob
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm import generate, load
from mlx_lm.utils import load_model
from report import Skip, check

PROMPT = "The capital of France is"
PROJECTIONS = {"block_sparse_moe": {"gate_proj": "w1", "down_proj": "w2", "up_proj": "w3"}}


def tensors(view):
    """All of them are read here: one that is not keeps its file open, and the mount busy."""
    found = {}
    for file in glob.glob(os.path.join(view, "model*.safetensors")):
        found.update(mx.load(file))
    mx.eval(found)
    return found


def dense_weight(dense, module):
    """The weight of a module, or those of the experts that it has."""
    if f"{module}.weight" in dense:
        return np.array(dense[f"{module}.weight"])
    layer, block, projection = re.fullmatch(r"(.*)\.(\w+)\.switch_mlp\.(\w+)", module).groups()
    name = PROJECTIONS.get(block, {}).get(projection, projection)
    experts = sum(bool(re.fullmatch(rf"{re.escape(layer)}\.{block}\.experts\.\d+\.{name}\.weight", n)) for n in dense)
    return np.stack([np.array(dense[f"{layer}.{block}.experts.{e}.{name}.weight"]) for e in range(experts)])


def compare(mount):
    """The number of modules, all of which are equal."""
    found, dense = tensors(os.path.join(mount, "mlx")), tensors(os.path.join(mount, "fp32"))
    with open(os.path.join(mount, "mlx", "config.json"), encoding="utf-8") as f:
        said = json.load(f)["quantization"]
    modules = [n.removesuffix(".scales") for n in found if n.endswith(".scales")]
    for module in modules:
        own = said.get(module, said)
        scales, biases = (found[f"{module}.{x}"].astype(mx.float32) for x in ("scales", "biases"))
        got = np.array(mx.dequantize(found[f"{module}.weight"], scales, biases, own["group_size"], own["bits"]))
        want = dense_weight(dense, module)
        assert got.shape == want.shape and np.array_equal(got, want), f"{module}: {(got != want).sum()} differ"
    return len(modules)


def text(view):
    model, tokenizer = load(view)
    return generate(model, tokenizer, prompt=tokenizer.encode(PROMPT), max_tokens=4)


def read(mount, name, real):
    mlx = os.path.join(mount, "mlx")
    with check(f"mlx dequantizes {name} to the fp32 view") as notes:
        if not os.path.exists(os.path.join(mlx, "config.json")):
            raise Skip("it has no mlx/")
        notes.append(f"{compare(mount)} modules")
    if not os.path.exists(os.path.join(mlx, "config.json")):
        return
    with check(f"mlx-lm loads {name}"):
        load_model(Path(mlx))
    if real:
        with check(f"mlx-lm: mlx/ and fp16/ of {name} have one text") as notes:
            texts = [text(os.path.join(mount, view)) for view in ("mlx", "fp16")]
            assert texts[0] and texts[0] == texts[1], texts
            notes.append(repr(texts[0]))


def main():
    gptqfs, work, *models = sys.argv[1:]
    mx.set_default_device(mx.cpu)
    for i, model in enumerate(models):
        mount = os.path.join(work, "mlx-view")
        os.makedirs(mount, exist_ok=True)
        subprocess.run([gptqfs, model, mount], check=True)
        try:
            read(mount, os.path.basename(model), i == 0)
        finally:
            gc.collect()
            subprocess.run([gptqfs, "-u", mount], check=True)


if __name__ == "__main__":
    main()
