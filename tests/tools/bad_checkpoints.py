# SPDX-License-Identifier: MIT
"""Kinds of make_checkpoint.py that are damaged, hostile, or of no format that is served."""
import json
import os
import struct

from checkpoint import (DTYPE_BYTES, KINDS, Model, Q, kind, served, write_bytes, write_index, write_json,
                        write_safetensors)
from good_checkpoints import hf_cache, numbered, numbered_from_zero, plain, sharded


# Bad ones: files.

def no_weights(path, name):
    Model().write_companions(path)
    write_bytes(path, name, b"\x80\x02}q\x00.")


@kind
def only_pt(path):
    no_weights(path, "model.pt")


@kind
def only_bin(path):
    no_weights(path, "pytorch_model.bin")


@kind
def only_gguf(path):
    no_weights(path, "model-q4.gguf")


@kind
def only_json(path):
    Model().write_companions(path)


@kind
def empty(path):
    os.makedirs(path)


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 114620920\n"


@kind
def lfs_weights(path):
    Model().write_companions(path)
    write_bytes(path, "model.safetensors", POINTER)


@kind
def lfs_config(path):
    plain(path)
    write_bytes(path, "config.json", POINTER)


@kind
def lfs_index(path):
    sharded(path)
    write_bytes(path, "model.safetensors.index.json", POINTER)


@kind
def missing_shard(path):
    sharded(path)
    os.remove(os.path.join(path, "model-00002-of-00003.safetensors"))


def numbered_without(name, source, number):
    def write(path):
        source(path)
        os.remove(os.path.join(path, f"model-{number:05}-of-00003.safetensors"))
    KINDS[name] = write


numbered_without("missing_first", numbered, 1)
numbered_without("missing_middle", numbered, 2)
numbered_without("missing_last", numbered, 3)
numbered_without("missing_last_from_zero", numbered_from_zero, 2)


@kind
def missing_in_shard(path):
    """The index puts a tensor into a shard that does not have it."""
    m = Model().usual()
    weight_map = m.write_sharded(path, lambda i, name: f"model-{i % 2 + 1:05}-of-00002.safetensors")
    weight_map["model.layers.7.mlp.up_proj.qweight"] = "model-00001-of-00002.safetensors"
    write_index(path, weight_map)


@kind
def twice(path):
    """Two files with the same tensor, and no index."""
    m = Model().usual()
    m.write(path, "a.safetensors")
    write_safetensors(os.path.join(path, "b.safetensors"), {"lm_head.weight": m.stored["lm_head.weight"]})


@kind
def hf_cache_no_snapshot(path):
    hf_cache(path)
    write_bytes(os.path.join(path, "models--org--name", "refs"), "main", b"f" * 40)


@kind
def hf_cache_no_blob(path):
    """An interrupted download: a link whose blob is not there."""
    hf_cache(path)
    snapshots = os.path.join(path, "models--org--name", "snapshots")
    os.remove(os.path.realpath(os.path.join(snapshots, os.listdir(snapshots)[0], "model.safetensors")))


@kind
def hf_cache_linked_snapshot(path):
    """The snapshot is a link to another user's directory."""
    hf_cache(path)
    snapshots = os.path.join(path, "models--org--name", "snapshots")
    snapshot = os.path.join(snapshots, os.listdir(snapshots)[0])
    plain(os.path.join(path, "elsewhere"))
    os.rename(snapshot, os.path.join(path, "moved"))
    os.symlink("../../elsewhere", snapshot)


@kind
def hf_cache_linked_snapshots(path):
    hf_cache(path)
    snapshots = os.path.join(path, "models--org--name", "snapshots")
    os.rename(snapshots, os.path.join(path, "models--org--name", "real"))
    os.symlink("real", snapshots)


@kind
def hf_cache_linked_ref(path):
    hf_cache(path)
    ref = os.path.join(path, "models--org--name", "refs", "main")
    os.rename(ref, os.path.join(path, "ref"))
    os.symlink("../../ref", ref)


@kind
def hf_cache_linked_blobs(path):
    """An archive whose blobs are a link: by it, any file that its owner knows the name of would be part of the model."""
    hf_cache(path)
    entry = os.path.join(path, "models--org--name")
    os.rename(os.path.join(entry, "blobs"), os.path.join(path, "elsewhere"))
    os.symlink("../elsewhere", os.path.join(entry, "blobs"))


@kind
def hf_cache_fifo_ref(path):
    hf_cache(path)
    ref = os.path.join(path, "models--org--name", "refs", "main")
    os.remove(ref)
    os.mkfifo(ref)


@kind
def taken_names(path):
    """Directories that are called like files of the views."""
    m = Model().usual(layers=2)
    m.write_sharded(path, lambda i, name: f"part-{i % 3}.safetensors")
    for name in ("model.safetensors/x.md", "model.safetensors/y/z.md", "quantize_config.json.d/kept.md"):
        os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
        write_bytes(path, name, b"text\n")
    m.write_expected(path)


@kind
def hole(path):
    """A tensor of zeros that were never written."""
    m = Model().usual()
    m.stored["model.norm.weight"] = ["F16", [65536], bytes(131072)]
    m.dense["model.norm.weight"] = ([65536], [0.0] * 65536)
    served(path, m)
    name = os.path.join(path, "model.safetensors")
    with open(name, "rb") as f:
        data = f.read()
    os.remove(name)
    with open(name, "wb") as f:
        for at in range(0, len(data), 4096):
            piece = data[at:at + 4096]
            if any(piece):
                f.seek(at)
                f.write(piece)
        f.truncate(len(data))


def odd_file(kind_name, name, make=os.mkfifo):
    """A FIFO, or whatever `make` makes, under a name that counts."""
    def write(path):
        plain(path)
        if os.path.exists(os.path.join(path, name)):
            os.remove(os.path.join(path, name))
        make(os.path.join(path, name))
    KINDS[kind_name] = write


def link_to_device(path):
    os.symlink("/dev/zero", path)


odd_file("fifo_config", "config.json")
odd_file("fifo_quant_config", "quantize_config.json")
odd_file("fifo_weights", "model.safetensors")
odd_file("fifo_index", "model.safetensors.index.json")
odd_file("fifo_companion", "tokenizer.json")
odd_file("device_config", "config.json", link_to_device)
odd_file("device_companion", "tokenizer.json", link_to_device)


@kind
def html_weights(path):
    """What a browser is shown instead of the file."""
    Model().write_companions(path)
    write_bytes(path, "model.safetensors", b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>\n" * 20)


@kind
def html_config(path):
    plain(path)
    write_bytes(path, "config.json", b"<html>\n<head><title>404</title></head></html>\n")


@kind
def pickle_weights(path):
    """A torch pickle under the name of the other format."""
    Model().write_companions(path)
    write_bytes(path, "model.safetensors", b"PK\x03\x04" + bytes(1000))


def other_place(path, target):
    """weight_map leads to a real file, but a path says where."""
    m = Model().usual()
    m.write(path)
    os.rename(os.path.join(path, "model.safetensors"), os.path.join(os.path.dirname(path), "outside.safetensors"))
    write_index(path, {name: target for name in m.stored})


@kind
def dotdot(path):
    other_place(path, "../outside.safetensors")


@kind
def dotdot_inside(path):
    other_place(path, "x/../../outside.safetensors")


@kind
def absolute(path):
    other_place(path, os.path.join(os.path.dirname(os.path.abspath(path)), "outside.safetensors"))


@kind
def symlink_out(path):
    served(path, Model().usual())
    outside = os.path.join(os.path.dirname(path), "outside.safetensors")
    os.rename(os.path.join(path, "model.safetensors"), outside)
    os.symlink("../outside.safetensors", os.path.join(path, "model.safetensors"))


@kind
def symlink_out_companion(path):
    plain(path)
    os.remove(os.path.join(path, "tokenizer.json"))
    os.symlink("/etc/passwd", os.path.join(path, "tokenizer.json"))


@kind
def symlink_inside(path):
    served(path, Model().usual())
    os.mkdir(os.path.join(path, "real"))
    os.rename(os.path.join(path, "model.safetensors"), os.path.join(path, "real", "weights"))
    os.symlink("real/weights", os.path.join(path, "model.safetensors"))


@kind
def weights_directory(path):
    Model().write_companions(path)
    os.mkdir(os.path.join(path, "model.safetensors"))


# Bad ones: the container.

@kind
def short(path):
    Model().write_companions(path)
    write_bytes(path, "model.safetensors", b"\x07\0\0")


@kind
def header_long(path):
    """A header longer than the file."""
    Model().write_companions(path)
    write_bytes(path, "model.safetensors", struct.pack("<Q", 5000) + b'{"a":{}}')


@kind
def header_huge(path):
    """A header that is there, but longer than anybody accepts. Mostly a hole."""
    Model().write_companions(path)
    write_bytes(path, "model.safetensors", struct.pack("<Q", 100_000_001) + b"{")
    os.truncate(os.path.join(path, "model.safetensors"), 8 + 100_000_001)


def edited(path, edit, model=None):
    (model or Model().usual()).write(path, edit=edit)


@kind
def bad_json(path):
    edited(path, lambda h: json.dumps(h).encode()[:-20] + b"}}")


@kind
def bad_utf8(path):
    edited(path, lambda h: json.dumps(h).replace("lm_head", "lm_h@@d").encode().replace(b"@@", b"\xff\xfe"))


@kind
def bad_config_json(path):
    plain(path)
    write_bytes(path, "config.json", b'{"model_type": "llama",}')


@kind
def bad_config_utf8(path):
    plain(path)
    write_bytes(path, "quantize_config.json", b'{"bits": 4, "note": "\xc3("}')


@kind
def bad_index(path):
    sharded(path)
    write_bytes(path, "model.safetensors.index.json", b'{"metadata": {}, "weight_map": [1, 2]}')


@kind
def key_twice(path):
    def edit(header):
        text = json.dumps(header)
        return (text[:-1] + ', "lm_head.weight": ' + json.dumps(header["lm_head.weight"]) + "}").encode()
    edited(path, edit)


@kind
def overlap(path):
    def edit(header):
        header["lm_head.weight"]["data_offsets"] = [at - 128 for at in header["lm_head.weight"]["data_offsets"]]
    edited(path, edit)


@kind
def gap(path):
    """The first tensor does not begin where the data does."""
    def edit(header):
        first = next(v for k, v in header.items() if k != "__metadata__")
        first["data_offsets"][0] += 128
        first["shape"][0] -= 1
    edited(path, edit)


@kind
def wrong_bytes(path):
    def edit(header):
        header[Q + ".scales"]["shape"] = [3, 64]
    edited(path, edit)


@kind
def unknown_dtype(path):
    def edit(header):
        header["lm_head.weight"]["dtype"] = "Q4_K"
    edited(path, edit)


@kind
def truncated(path):
    plain(path)
    name = os.path.join(path, "model.safetensors")
    os.truncate(name, os.path.getsize(name) - 1000)


@kind
def longer(path):
    plain(path)
    with open(os.path.join(path, "model.safetensors"), "ab") as f:
        f.write(b"\0" * 100)


# Bad ones: the tensors.

def spoiled(path, spoil, **quant):
    m = Model(**quant).usual()
    spoil(m.stored)
    m.write(path)


@kind
def no_qweight(path):
    spoiled(path, lambda t: t.pop(Q + ".qweight"))


@kind
def no_scales(path):
    spoiled(path, lambda t: t.pop(Q + ".scales"))


@kind
def unsure_width(path):
    """Shapes of a tiny module that several widths fit, and a pattern that cannot be evaluated may say which."""
    m = Model(dynamic={"(": {"bits": 2}})
    m.module(Q, 16, 8, g_idx=False)
    m.write(path)


@kind
def no_qzeros_asym_module(path):
    """The configuration is symmetric, but for the module that lacks its zeros."""
    m = Model(sym=True, dynamic={"+:.*q_proj": {"sym": False}}).usual(qzeros=False)
    m.write(path)


@kind
def no_qzeros_no_sym(path):
    """No zeros, and nothing says what they would be: readers take the middle."""
    model = Model(sym=True).usual(qzeros=False)
    del model.quant["sym"]
    served(path, model)


@kind
def no_qzeros_asym(path):
    spoiled(path, lambda t: t.pop(Q + ".qzeros"))


@kind
def bad_columns(path):
    spoiled(path, lambda t: t.update({Q + ".scales": ["F16", [2, 60], b"\0" * 240]}))


@kind
def bad_rows(path):
    """As many rows as no width gives for the length of g_idx."""
    spoiled(path, lambda t: t.update({Q + ".qweight": ["I32", [9, 64], b"\0" * 9 * 64 * 4]}))


@kind
def bad_groups(path):
    spoiled(path, lambda t: t.update({Q + ".qzeros": ["I32", [3, 8], b"\0" * 96]}))


@kind
def bad_group_size(path):
    """Seven groups of 64 inputs, which no group size makes, and no g_idx to say how."""
    def spoil(t):
        t.pop(Q + ".g_idx")
        t[Q + ".scales"] = ["F16", [7, 64], b"\0" * 7 * 128]
        t[Q + ".qzeros"] = ["I32", [7, 8], b"\0" * 7 * 32]
    spoiled(path, spoil)


@kind
def bad_scales_dtype(path):
    spoiled(path, lambda t: t.update({Q + ".scales": ["I32", [2, 64], b"\0" * 512]}))


def with_group(path, value):
    spoiled(path, lambda t: t.update({Q + ".g_idx": ["I32", [64], struct.pack("<64i", *[0] * 40, value, *[1] * 23)]}))


@kind
def g_idx_large(path):
    with_group(path, 2)


@kind
def g_idx_negative(path):
    with_group(path, -1)


@kind
def both_weights(path):
    spoiled(path, lambda t: t.update({Q + ".weight": ["F16", [64, 64], b"\0" * 8192]}))


# Other formats: by what their configuration says, and by what their tensors are called.

def labelled(path, **quant):
    m = Model().usual()
    m.quant.update(quant)
    m.write(path)


def label(name, **quant):
    KINDS[name] = lambda path: labelled(path, **quant)


label("marlin_label", checkpoint_format="marlin")
label("marlin_method", quant_method="marlin")
label("marlin_flag", is_marlin_format=True)
label("bitblas_label", checkpoint_format="bitblas")
label("compressed_tensors_label", quant_method="compressed-tensors", format="pack-quantized")
label("fp8_label", quant_method="fp8", weight_block_size=[128, 128])
label("hqq_label", quant_method="hqq")
label("exl2_label", quant_method="exl2")
label("exl3_label", quant_method="exl3")
label("unknown_method", quant_method="zipweights")
label("unknown_format", checkpoint_format="gptq_v9")
label("rotated", rotation="hadamard")


def foreign(name, **tensors):
    """A model without any label whose q_proj is stored in another way: suffix -> (dtype, shape)."""
    def write(path):
        m = Model()
        m.plain("model.embed_tokens.weight", [32, 64])
        for suffix, (dtype, shape) in tensors.items():
            size = DTYPE_BYTES[dtype]
            for s in shape:
                size *= s
            m.stored[f"{Q}.{suffix}"] = [dtype, shape, b"\0" * size]
        os.makedirs(path)
        write_json(path, "config.json", m.config)
        write_safetensors(os.path.join(path, "model.safetensors"), m.stored)
    KINDS[name] = write


foreign("marlin_tensors", B=("I32", [4, 128]), s=("F16", [2, 64]))
foreign("compressed_tensors_tensors", weight_packed=("I32", [64, 8]), weight_scale=("F16", [64, 2]),
        weight_shape=("I64", [2]))
foreign("hqq_tensors", W_q=("U8", [32, 64]), scale=("F16", [64, 2]), zero=("F16", [64, 2]))
foreign("exl2_tensors", q_weight=("I32", [8, 64]), q_scale=("I32", [2, 8]), q_perm=("I32", [64]))
foreign("exl3_tensors", trellis=("I32", [4, 4, 32]), suh=("F16", [64]), svh=("F16", [64]))


@kind
def llm_awq_tensors(path):
    """A square matrix of llm-awq, whose codes have the shape of GPTQ's in words of 16 bits."""
    m = Model()
    m.quant = {"w_bit": 4, "q_group_size": 16, "zero_point": False}
    m.stored[Q + ".qweight"] = ["I16", [16, 64], bytes(2048)]
    m.stored[Q + ".scales"] = ["F16", [8, 64], bytes(1024)]
    m.stored[Q + ".scaled_zeros"] = ["F16", [8, 64], bytes(1024)]
    m.write(path)


foreign("dense", weight=("F16", [64, 64]))
foreign("mlx_tensors", weight=("U32", [64, 8]), scales=("F16", [64, 1]), biases=("F16", [64, 1]))
foreign("int8_tensors", weight=("I8", [64, 64]), scale_of_it=("F32", [64]))
foreign("quark_tensors", weight=("I32", [64, 8]), weight_scale=("F16", [2, 64]), weight_zero_point=("I32", [2, 8]))
foreign("fp8_odd_name", weight=("F8_E4M3", [64, 64]), weight_wobble=("F32", [1]))


@kind
def mlx_config(path):
    """Nothing but config.json says that a model is MLX's."""
    m = Model().usual()
    m.config["quantization"] = {"group_size": 64, "bits": 4}
    for name in [name for name in m.stored if name.rsplit(".", 1)[1] in ("qweight", "qzeros", "scales", "g_idx")]:
        del m.stored[name]
    os.makedirs(path)
    write_json(path, "config.json", m.config)
    write_safetensors(os.path.join(path, "model.safetensors"), m.stored)


@kind
def scaled_elsewhere(path):
    """A GPTQ model with one weight in another type, whose scale is in another shard, under a made-up name."""
    m = Model().usual()
    m.other("model.layers.0.mlp.up_proj.weight", [8, 8], "I8")
    m.plain("zz_scales/model.layers.0.mlp.up_proj", [8], "F32")
    m.write_sharded(path, lambda i, name: f"model-{1 + (name[0] == 'z'):05}-of-00002.safetensors")
