#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The GGUF file of a mount: the package gguf reads the numbers of the fp32 view, llama.cpp (xllamacpp) runs it.

    gguf_file.py GPTQFS WORK MODEL_DIR...

The first model is the real one. It must answer in each way in which llama.cpp loads a file: mapped, by reads, locked in
memory, by direct I/O. The others only have to load: their weights are noise.
"""
import importlib.util
import json
import os
import subprocess
import sys

import gguf
import numpy as np
from gguf.quants import dequantize
from report import Skip, check
from safetensors.numpy import load_file

PROMPT = {"prompt": "The capital of France is", "max_tokens": 3, "temperature": 0.0}
MODES = "MMAP", "NONE", "MLOCK", "MMAP_MLOCK", "DIRECT_IO"
# Loading ends in a process of its own: llama.cpp aborts on what it does not like.
RUN = """
import json, sys, xllamacpp as x
p = x.CommonParams()
p.model.path, p.n_ctx, p.n_parallel, p.warmup = sys.argv[1], 256, 1, False
p.load_mode = getattr(x.llama_load_mode, "LLAMA_LOAD_MODE_" + sys.argv[2])
reply = x.Server(p).handle_completions(json.loads(sys.argv[3]))
print("reply:", json.dumps((reply if isinstance(reply, dict) else json.loads(reply))["choices"][0]["text"]))
"""


SHARED = {"ffn_gate_inp_shexp": "mlp.shared_expert_gate", "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
          "ffn_up_shexp": "mlp.shared_expert.up_proj", "ffn_down_shexp": "mlp.shared_expert.down_proj"}
MIXTRAL = {"ffn_gate_inp": "block_sparse_moe.gate", "ffn_gate_exps": "block_sparse_moe.experts.{}.w1",
           "ffn_up_exps": "block_sparse_moe.experts.{}.w3", "ffn_down_exps": "block_sparse_moe.experts.{}.w2"}
GEMMA = {"ffn_norm": "pre_feedforward_layernorm", "post_attention_norm": "post_attention_layernorm",
         "post_ffw_norm": "post_feedforward_layernorm"}


def layer_names(arch, dense):
    """The table of the tests, whose file has the name of the package; and what architectures have of their own."""
    path = os.path.join(os.path.dirname(__file__), "..", "tools", "gguf.py")
    spec = importlib.util.spec_from_file_location("tests_gguf", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    own = GEMMA if arch.startswith("gemma") else MIXTRAL if any("block_sparse_moe" in n for n in dense) else SHARED
    return {**module.LAYER, **own}


def dense_tensors(view):
    tensors = {}
    for name in sorted(os.listdir(view)):
        if name.endswith(".safetensors"):
            tensors.update(load_file(os.path.join(view, name)))
    return tensors


def source_of(t, dense, layer, heads):
    """The tensor of the fp32 view in the order of the file."""
    module, suffix = t.name.rsplit(".", 1)
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    if module in names:
        return dense[f"{names[module]}.{suffix}"]
    _, number, module = module.split(".")
    name = f"model.layers.{number}.{layer[module]}.{suffix}"
    if "{}" in name:
        return np.stack([dense[name.format(j)] for j in range(t.shape[2])])
    if name not in dense and module == "ffn_up":
        return dense[name.replace("up_proj", "gate_up_proj")]
    source = dense[name]
    if module in heads:
        n = heads[module]
        source = source.reshape(n, 2, source.shape[0] // n // 2, *source.shape[1:]).swapaxes(1, 2)
    return source


def compare(mnt, path):
    """Every tensor as gguf's own code dequantizes it; F16 has the rounding of the fp16 view."""
    reader, dense = gguf.GGUFReader(path), dense_tensors(os.path.join(mnt, "fp32"))
    arch = reader.fields["general.architecture"].contents()
    layer = layer_names(arch, dense)
    heads, values = {}, 0
    if arch == "llama":
        heads = {"attn_q": int(reader.fields["llama.attention.head_count"].contents()),
                 "attn_k": int(reader.fields["llama.attention.head_count_kv"].contents())}
    for t in reader.tensors:
        if t.name.startswith("rope_"):
            continue
        source = np.ascontiguousarray(source_of(t, dense, layer, heads))
        if arch.startswith("gemma") and t.name.endswith("norm.weight"):
            source = source + np.float32(1)
        found = np.ascontiguousarray(dequantize(t.data, t.tensor_type).astype(np.float32))
        if t.tensor_type == gguf.GGMLQuantizationType.F16:
            with np.errstate(over="ignore"):
                source = source.astype(np.float16).astype(np.float32)
        wrong = int((found.ravel().view(np.uint32) != source.ravel().view(np.uint32)).sum())
        assert not wrong, f"{t.name}: {wrong} of {source.size} values differ"
        values += source.size
    return f"{values:,} values"


def run(path, mode):
    if not importlib.util.find_spec("xllamacpp"):
        raise Skip("xllamacpp is not to be had")
    done = subprocess.run([sys.executable, "-c", RUN, path, mode, json.dumps(PROMPT)], capture_output=True, text=True,
                          timeout=600)
    replies = [line for line in done.stdout.splitlines() if line.startswith("reply: ")]
    assert replies, f"status {done.returncode}: {done.stderr[-500:]}"
    return json.loads(replies[0].removeprefix("reply: "))


def one_model(mnt, path, name, real):
    with check(f"gguf {name}: the numbers of the fp32 view") as notes:
        notes.append(compare(mnt, path))
    for mode in MODES if real else MODES[:1]:
        with check(f"gguf {name}: llama.cpp {'answers' if real else 'loads it'}, {mode.lower()}") as notes:
            text = run(path, mode)
            assert not real or text.startswith(" Paris"), f"it says {text!r}"
            notes.append(repr(text))


def main():
    gptqfs, work, *models = sys.argv[1:]
    for i, model in enumerate(models):
        name = os.path.basename(model)
        mnt = os.path.join(work, "mnt", "gguf-" + name)
        os.makedirs(mnt, exist_ok=True)
        subprocess.run([gptqfs, model, mnt], check=True)
        try:
            path = os.path.join(mnt, "gguf", name + ".gguf")
            if os.path.exists(path):
                one_model(mnt, path, name, i == 0)
        finally:
            subprocess.run(["fusermount3", "-u", mnt], check=True)


if __name__ == "__main__":
    main()
