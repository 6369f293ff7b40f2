#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes faulty copies of a good adapter.

    bad_adapters.py GOOD_DIR OUT_DIR

Each fault becomes a directory OUT_DIR/NAME, and a line "NAME<tab>TEXT" on standard output: what a refusal must say.
GOOD_DIR is a PEFT adapter of F32 pairs on self_attn.v_proj and lm_head, for a model without a bias in o_proj.
"""
import json
import os
import shutil
import struct
import sys

from checkpoint import read_safetensors, write_safetensors

SIZES = {"F16": 2, "BF16": 2, "F32": 4, "F64": 8, "I32": 4, "F8_E4M3": 1}
P = "base_model.model.model.layers."


def zeros(shape, dtype="F32"):
    size = SIZES[dtype]
    for n in shape:
        size *= n
    return (dtype, list(shape), bytes(size))


FAULTS = {}


def fault(name, says):
    def note(make):
        FAULTS[name] = (says, make)
        return make
    return note


A, B = P + "0.self_attn.v_proj.lora_A.weight", P + "0.self_attn.v_proj.lora_B.weight"


def change(says, **faults):
    """Faults of tensors alone: functions of the dictionary of all."""
    for name, make in faults.items():
        FAULTS[name] = (says, lambda t, c, d, make=make: make(t))


def drop(name):
    return lambda t: t.pop(name)


def put(name, value):
    return lambda t: t.update({name: value})


def poison(name, pattern):
    def make(t):
        dtype, shape, data = t[name]
        t[name] = (dtype, shape, data[:8] + struct.pack("<I", pattern) + data[12:])
    return make


change("there is no lora_B of the same module", no_b=drop(B))
change("there is no lora_A of the same module", no_a=drop(A))
change("is it an adapter for another model?", wide=put(A, zeros([4, 64])), tall=put(B, zeros([128, 4])))
change("its rank is 5, that of tensor", ranks=put(B, zeros([64, 5])))
change("no tensor of this model (1 such tensor)", module=put(P + "0.self_attn.w_proj.lora_A.weight", zeros([4, 128])))
change("no tensor of this model (2 such tensors)",
       layer=lambda t: t.update({P + "9.self_attn.v_proj.lora_A.weight": t[A], P + "9.self_attn.v_proj.lora_B.weight": t[B]}),
       score=lambda t: t.update({"base_model.model.score.weight": zeros([2, 128]), "base_model.model.score.bias": zeros([2])}))
change("it was saved without gathering its parts", empty=put(A, zeros([0])), flat=put(A, zeros([512])),
       no_elements=put(A, zeros([4, 0])))
change("expected a matrix of two dimensions", convolution=put(A, zeros([4, 128, 1, 1])))
change("it holds inf or NaN", nan=poison(A, 0x7fc00000), inf=poison(B, 0xff800000))
change("expected F32, F16 or BF16", integers=put(A, zeros([4, 128], "I32")), eight=put(A, zeros([4, 128], "F8_E4M3")),
       doubles=put(A, zeros([4, 128], "F64")))
change('it belongs to the adapter "other"',
       several=lambda t: t.update({A.replace("lora_A", "lora_A.other"): t.pop(A), B.replace("lora_B", "lora_B.other"): t.pop(B)}))
change("PEFT gives no tensor such a name", unknown=put(P + "0.self_attn.v_proj.lora_C.weight", zeros([4, 4])),
       mlx_name=put(P + "0.self_attn.q_proj.lora_a", zeros([128, 4])))
change("means the same; remove one of them", twice=put(A.replace("v_proj", "v_proj._orig_mod"), zeros([4, 128])),
       saved_twice=lambda t: t.update({P + "0.input_layernorm.weight": zeros([128]),
                                       P + "0.input_layernorm.modules_to_save.weight": ("F32", [128], b"\0\0\x80\x3f" * 128)}))
change("the model has no bias in", no_bias=lambda t: t.update({
    P + "0.self_attn.o_proj.lora_A.weight": zeros([4, 128]), P + "0.self_attn.o_proj.lora_B.weight": zeros([128, 4]),
    P + "0.self_attn.o_proj.lora_B.bias": zeros([128])}))
change("has another shape", saved_shape=put(P + "0.input_layernorm.weight", zeros([64])),
       bias_shape=put(P + "0.self_attn.v_proj.lora_B.bias", zeros([65])))
change("must be F16, BF16, F32 or F64", saved_integers=put(P + "0.input_layernorm.weight", zeros([128], "I32")))
change("its module has no lora_A and lora_B", lone_bias=put(P + "0.self_attn.k_proj.lora_B.bias", zeros([64])))
change("expected a rank of 1 to 4096", rank=lambda t: t.update({A: zeros([5000, 128]), B: zeros([64, 5000])}))
change("use_dora is not set", magnitude=put(P + "0.self_attn.v_proj.lora_magnitude_vector", zeros([64])))
change("it does not go with tensor", mixed=lambda t: t.update({
    P[:-7] + "embed_tokens.lora_embedding_A": zeros([4, 256]), P[:-7] + "embed_tokens.lora_B.weight": zeros([128, 4])}))
change("rows", vocabulary=lambda t: [t.pop(n) for n in list(t) if "lm_head" in n] and
       t.update({P[:-7] + "embed_tokens.weight": zeros([300, 128])}))
change("holds no tensors", nothing=lambda t: t.clear())


@fault("tokens", "a token that is out of range")
def _(t, c, d):
    c["trainable_token_indices"] = [1, 256]
    t[P[:-7] + "embed_tokens.token_adapter.trainable_tokens_delta"] = zeros([2, 128])


@fault("token_count", "lists 3 tokens for it")
def _(t, c, d):
    c["trainable_token_indices"] = [1, 2, 3]
    t[P[:-7] + "embed_tokens.token_adapter.trainable_tokens_delta"] = zeros([2, 128])


@fault("token_twice", "lists token 7 twice")
def _(t, c, d):
    c["trainable_token_indices"] = [7, 7]
    t[P[:-7] + "embed_tokens.token_adapter.trainable_tokens_delta"] = zeros([2, 128])


@fault("dora_embedding", "DoRA on an embedding")
def _(t, c, d):
    c["use_dora"] = True
    t.clear()
    t.update({P[:-7] + "embed_tokens.lora_embedding_A": zeros([4, 256]), P[:-7] + "embed_tokens.lora_embedding_B": zeros([128, 4])})


def config(says, **faults):
    """Faults of the configuration alone."""
    for name, members in faults.items():
        FAULTS[name] = (says, lambda t, c, d, members=members: c.update(members))


config("has no lora_magnitude_vector", no_magnitude={"use_dora": True})
config('peft_type is "IA3"', ia3={"peft_type": "IA3"})
config("training began from a changed base", pissa={"init_lora_weights": "pissa_niter_4"}, loftq={"init_lora_weights": "loftq"},
       olora={"init_lora_weights": "OLoRA"}, unknown_init={"init_lora_weights": "lora-ga"})
config("is set, and so the result is not a sum", alora={"alora_invocation_tokens": [1]}, bdlora={"use_bdlora": {"nblocks": 2}},
       replicated={"layer_replication": [[0, 1], [0, 1]]}, qalora={"use_qalora": True}, arrow={"arrow_config": {"a": 1}})
config("lora_alpha is not a finite number", alpha={"lora_alpha": "16"}, alpha_inf={"lora_alpha": float("inf")})
config("alpha_pattern", pattern={"alpha_pattern": {"(": 1}}, pattern_long={"alpha_pattern": {"x" * 600: 1}},
       pattern_endless={"alpha_pattern": {r"((\w|\.)+)+[!?]": 1}})
config("x is not a finite number", pattern_value={"alpha_pattern": {"x": None}})


@fault("full_tuning", 'fine_tune_type is "full"')
def _(t, c, d):
    c.pop("peft_type")
    c["fine_tune_type"] = "full"


@fault("no_type", "has neither peft_type (PEFT) nor fine_tune_type (mlx-lm)")
def _(t, c, d):
    c.pop("peft_type")


@fault("full_model", "describes a full model")
def _(t, c, d):
    c.pop("peft_type")
    c["model_type"] = "llama"


def files(name, says):
    """Faults of files, made after the good ones were written."""
    def note(make):
        FAULTS[name] = (says, make, True)
        return make
    return note


def remove(d, name):
    os.unlink(os.path.join(d, name))


def save(d, name, data):
    with open(os.path.join(d, name), "wb") as f:
        f.write(data)


@files("no_config", "there is no adapter_config.json")
def _(d):
    remove(d, "adapter_config.json")


@files("model_directory", "belongs to a full model")
def _(d):
    remove(d, "adapter_config.json")
    save(d, "config.json", b"{}")


@files("not_json", "adapter_config.json")
def _(d):
    save(d, "adapter_config.json", b"{'r': 4}")


@files("list", "expected a JSON object")
def _(d):
    save(d, "adapter_config.json", b"[]")


@files("pickle", "is a pickle")
def _(d):
    os.rename(os.path.join(d, "adapter_model.safetensors"), os.path.join(d, "adapter_model.bin"))


@files("gguf", "is an adapter in GGUF")
def _(d):
    os.rename(os.path.join(d, "adapter_model.safetensors"), os.path.join(d, "adapter.gguf"))


@files("lfs", "a Git LFS pointer")
def _(d):
    save(d, "adapter_model.safetensors", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


@files("lfs_config", "a Git LFS pointer")
def _(d):
    save(d, "adapter_config.json", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")


@files("truncated", "adapter_model.safetensors")
def _(d):
    path = os.path.join(d, "adapter_model.safetensors")
    os.truncate(path, os.path.getsize(path) - 100)


@files("new_tokens", "new_embeddings.safetensors")
def _(d):
    save(d, "new_embeddings.safetensors", b"")


def main():
    good, out = sys.argv[1:]
    for name, (says, make, *after) in FAULTS.items():
        d = os.path.join(out, name)
        shutil.copytree(good, d)
        path = os.path.join(d, "adapter_config.json")
        tensors = read_safetensors(os.path.join(d, "adapter_model.safetensors"))
        with open(path) as f:
            settings = json.load(f)
        if not after:
            make(tensors, settings, d)
            write_safetensors(os.path.join(d, "adapter_model.safetensors"), tensors)
            with open(path, "w") as f:
                json.dump(settings, f)
        else:
            make(d)
        print(f"{name}\t{says}")


main()
