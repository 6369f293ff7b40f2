#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Small directories that lead elsewhere, or are expensive: hostile.py KIND DIRECTORY

Each is at most 32 MB on disk. hostile.bats has the expected results.
"""
import json
import os
import struct
import sys

from checkpoint import DTYPE_BYTES, Model, Q, write_bytes, write_safetensors

KINDS = {}


def kind(function):
    KINDS[function.__name__] = function
    return function


def write_header(path, header, data=0):
    """A shard with only the header on disk."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + data)


def write_holes(path, shapes):
    """A shard of these tensors, name -> (dtype, shape), all of them holes."""
    header, at = {}, 0
    for name, (dtype, shape) in shapes.items():
        size = DTYPE_BYTES[dtype]
        for n in shape:
            size *= n
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    write_header(path, header, at)


def weights(path):
    return os.path.join(path, "model.safetensors")


# ---- links out of a cache entry ----

def cache_entry(path):
    """(entry, snapshot): models--org--name with refs/main, and no blobs yet."""
    entry = os.path.join(path, "models--org--name")
    os.makedirs(os.path.join(entry, "refs"))
    os.makedirs(os.path.join(entry, "snapshots"))
    write_bytes(os.path.join(entry, "refs"), "main", b"0123")
    return entry, os.path.join(entry, "snapshots", "0123")


@kind
def blobs_linked(path):
    """blobs leads to a directory of secrets, notes.txt to one of them."""
    entry, snapshot = cache_entry(path)
    Model().usual().write(snapshot)
    write_bytes(os.path.join(path, "secrets"), "id_ed25519", b"a secret\n")
    os.symlink(os.path.join(path, "secrets"), os.path.join(entry, "blobs"))
    os.symlink("../../blobs/id_ed25519", os.path.join(snapshot, "notes.txt"))


@kind
def snapshot_linked(path):
    """The snapshot itself is a link to a directory elsewhere."""
    entry, snapshot = cache_entry(path)
    elsewhere = os.path.join(path, "elsewhere")
    Model().usual().write(elsewhere)
    os.symlink(elsewhere, snapshot)


@kind
def ref_fifo(path):
    entry, snapshot = cache_entry(path)
    Model().usual().write(snapshot)
    os.remove(os.path.join(entry, "refs", "main"))
    os.mkfifo(os.path.join(entry, "refs", "main"))


@kind
def fifo(path):
    Model().usual().write(path)
    os.mkfifo(os.path.join(path, "tokenizer.model"))


@kind
def fifo_config(path):
    Model().usual().write(path)
    os.mkfifo(os.path.join(path, "quant_config.json"))


@kind
def device_linked(path):
    """An endless file."""
    Model().usual().write(path)
    os.remove(os.path.join(path, "tokenizer.json"))
    os.symlink("/dev/zero", os.path.join(path, "tokenizer.json"))


# ---- patterns ----

def patterned(path, dynamic, name=Q):
    """Patterns are evaluated if there is no g_idx."""
    m = Model(dynamic=dynamic)
    m.module(name, 64, 64, g_idx=False)
    m.plain("model.norm.weight", [64])
    m.write(path)


@kind
def pattern_nested(path):
    patterned(path, {"+:(.{1,255}){1,255}x": {"bits": 8}})


@kind
def pattern_thrice_nested(path):
    patterned(path, {"+:((.{1,99}){1,99}){1,99}": {"bits": 8}})


@kind
def pattern_backtracking(path):
    patterned(path, {r"+:((.*).*)*\2\2x": {"bits": 8}}, "model." + "a" * 200)


@kind
def pattern_exponential(path):
    patterned(path, {"+:(a+)+(a+)+(a+)+$": {"bits": 8}}, "model." + "a" * 200 + "b")


@kind
def patterns_by_modules(path):
    """2000 of each."""
    m = Model(group_size=-1, sym=True, dynamic={f"+:.*x{i}.*y": {"bits": 8} for i in range(2000)})
    m.write_companions(path)
    shapes = {}
    for i in range(2000):
        shapes[f"model.layers.{i}.q_proj.qweight"] = ("I32", [8, 64])
        shapes[f"model.layers.{i}.q_proj.scales"] = ("F16", [1, 64])
    write_holes(weights(path), shapes)


# ---- JSON ----

@kind
def long_shape(path):
    """A shape of ten million dimensions."""
    Model().write_companions(path)
    text = b'{"a":{"dtype":"F16","shape":[' + b"0," * 9_999_999 + b'0],"data_offsets":[0,0]}}'
    write_header(weights(path), text)


@kind
def large_config(path):
    Model().usual().write(path)
    write_bytes(path, "config.json", b'{"a":[' + b"0," * 7_000_000 + b"0]}")


@kind
def deep_config(path):
    Model().usual().write(path)
    write_bytes(path, "config.json", b'{"a":' + b"[" * 7_000_000 + b"]" * 7_000_000 + b"}")


# ---- many of something ----

@kind
def many_directories(path):
    """16,000 files, each in a directory of its own."""
    Model().usual().write(path)
    for i in range(16000):
        os.mkdir(os.path.join(path, f"d{i}"))
        os.link(os.path.join(path, "tokenizer.json"), os.path.join(path, f"d{i}", "a.json"))


@kind
def many_tensors(path):
    """400,000 empty tensors beside a model."""
    m = Model().usual()

    def edit(header):
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        empty = {"dtype": "F16", "shape": [0], "data_offsets": [end, end]}
        header.update({f"a{i}": empty for i in range(400_000)})

    m.write(path, edit=edit)


def junk(count):
    return {f"a{i}": 0 for i in range(count)}


def write_config(path, config):
    write_bytes(path, "config.json", json.dumps(config, separators=(",", ":")).encode())


@kind
def many_mlx_members(path):
    """10,000 modules of MLX; of its configuration, and of config.json, what counts is the last of 150,000 members."""
    shapes = {}
    for i in range(10_000):
        shapes[f"m{i}.weight"] = ("U32", [1, 8])
        shapes[f"m{i}.scales"] = shapes[f"m{i}.biases"] = ("F16", [1, 1])
    write_config(path, {**junk(150_000), "model_type": "llama", "hidden_size": 64,
                        "quantization": {**junk(150_000), "group_size": 96, "bits": 4}})
    write_holes(weights(path), shapes)


@kind
def many_biases(path):
    """10,000 modules of GPTQ with biases, and a config.json of 300,000 members that says nothing of biases."""
    shapes = {}
    for i in range(10_000):
        shapes[f"m{i}.qweight"] = ("I32", [1, 8])
        shapes[f"m{i}.scales"] = shapes[f"m{i}.bias"] = ("F16", [1, 8])
    write_config(path, {**junk(300_000), "model_type": "llama", "quantization_config": {"quant_method": "gptq", "bits": 4,
                                                                                     "group_size": -1, "sym": True}})
    write_holes(weights(path), shapes)


@kind
def many_g_idx(path):
    """256 of four million inputs each, of next to nothing on disk."""
    m = Model(sym=True, desc_act=True, group_size=-1)
    m.write_companions(path)
    k, shapes = 4_000_000, {}
    for i in range(256):
        name = f"model.layers.{i}.q_proj"
        shapes[name + ".qweight"] = ("I32", [k // 8, 8])
        shapes[name + ".scales"] = ("F16", [1, 8])
        shapes[name + ".g_idx"] = ("I32", [k])
    write_holes(weights(path), shapes)


@kind
def wide_zeros(path):
    """Zeros of 2^28 outputs, which are looked at when the model is opened."""
    m = Model(group_size=-1)
    m.write_companions(path)
    n = 1 << 28
    write_holes(weights(path), {Q + ".qweight": ("I32", [1, n]), Q + ".qzeros": ("I32", [1, n // 8]),
                                Q + ".scales": ("F16", [1, n])})


@kind
def wide_rows(path):
    """A weight that its class keeps as [in, out], of 2^28 outputs: one row of it is 1 GB."""
    m = Model(group_size=-1, sym=True)
    m.config = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2"}
    m.write_companions(path)
    n = 1 << 28
    name = "transformer.h.0.attn.c_attn"
    write_holes(weights(path), {name + ".qweight": ("I32", [1, n]), name + ".scales": ("F16", [1, n])})


@kind
def wide_stack(path, outputs=1 << 26):
    """An expert of 2^26 outputs, which its class has as columns: one row of it in 32 bits is 256 MB."""
    name = "model.layers.0.mlp.experts.0.down_proj.weight"
    write_config(path, {"model_type": "gpt_oss", "num_local_experts": 1})
    write_holes(weights(path), {name: ("F8_E4M3", [outputs, 64]), name + "_scale": ("F32", [1])})


@kind
def widest_stack(path):
    """The most outputs: a row is 16 MB, and 64 of them are what is computed at once."""
    wide_stack(path, 1 << 22)


# ---- names ----

@kind
def name_twice(path):
    """A directory with the name of the view's weights."""
    m = Model().usual()
    m.write_sharded(path, lambda i, name: f"model-0000{1 + i % 2}-of-00002.safetensors")
    os.makedirs(os.path.join(path, "model.safetensors"))
    write_bytes(os.path.join(path, "model.safetensors"), "x.md", b"x\n")


@kind
def metadata_tensor(path):
    """A tensor whose name is the key of the metadata, spelled otherwise."""
    m = Model().usual()
    m.write_companions(path)

    def edit(header):
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        tensor = f'{{"dtype": "F16", "shape": [0], "data_offsets": [{end}, {end}]}}'
        return (json.dumps(header)[:-1] + ', "__meta\\u0064ata__": ' + tensor + "}").encode()

    write_safetensors(weights(path), m.stored, edit)


@kind
def renamed_twice(path):
    """An expert that the view shows under its old name, and an integer tensor of that name."""
    m = Model().usual()
    m.config = {"architectures": ["MixtralForCausalLM"], "model_type": "mixtral"}
    m.module("model.layers.0.mlp.experts.0.gate_proj", 64, 64)
    m.other("model.layers.0.block_sparse_moe.experts.0.w1.weight", [4], "I32")
    m.write(path)


@kind
def control_names(path):
    """Names that would control the terminal, or forge a log line."""
    m = Model().usual()
    m.plain("model.a\n\x1b[2Jgptqfs: all is well\u009b1m\u202e.weight", [4])
    m.write(path)
    write_bytes(path, "\x1b]0;title\x07\ngptqfs: all is well.json", b"{}\n")


@kind
def group_size_large(path):
    """2^32, which is 0 in 32 bits."""
    m = Model(group_size=-1, desc_act=True, sym=True)
    m.module(Q, 64, 64)
    m.plain("model.norm.weight", [64])
    m.quant["group_size"] = 1 << 32
    m.write(path)
    m.write_expected(path)


def lax(name, **entry):
    """A tensor that the format's own reader refuses."""
    def write(path):
        Model().usual().write(path, edit=lambda header: header["model.norm.weight"].update(entry))

    KINDS[name] = write


lax("shape_string", shape="64")
lax("shape_number", shape=64)
lax("shape_null", shape=None)
lax("shape_object", shape={"a": 64})
lax("shape_fraction", shape=[64.0])


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in KINDS:
        print(__doc__, *KINDS, file=sys.stderr)
        return 1
    path = os.path.abspath(sys.argv[2])
    os.makedirs(path, exist_ok=True)
    KINDS[sys.argv[1]](path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
