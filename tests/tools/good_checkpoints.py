# SPDX-License-Identifier: MIT
"""Kinds of make_checkpoint.py that can be served: all sorts of shapes, types, names and layouts."""
import hashlib
import json
import os
import struct

from checkpoint import DTYPE_BYTES, Model, Q, VIEWS, kind, served, write_bytes, write_index, write_json, write_safetensors


@kind
def plain(path):
    served(path, Model().usual())


@kind
def v2(path):
    served(path, Model(checkpoint_format="gptq_v2").usual())


@kind
def act_order(path):
    served(path, Model(desc_act=True).usual(act=True))


@kind
def placeholder_g_idx(path):
    """A g_idx that was never filled in, beside several groups: k / group_size counts."""
    m = Model().usual()
    for name, tensor in m.stored.items():
        if name.endswith(".g_idx"):
            tensor[2] = bytes(len(tensor[2]))
    served(path, m)


@kind
def unused_group(path):
    """A g_idx that leaves the last group unused."""
    m = Model(desc_act=True).usual()
    m.module("model.layers.0.mlp.up_proj", 96, 64, act=[i % 2 for i in range(96)])
    served(path, m)


@kind
def zero_scales(path):
    """One module whose scales are all zero."""
    m = Model().usual()
    name = "model.layers.0.self_attn.q_proj"
    m.stored[name + ".scales"][2] = bytes(len(m.stored[name + ".scales"][2]))
    m.write(path)


@kind
def float_zeros(path):
    """The first GPTQ-for-LLaMa: scale * zero as a float, one for each output."""
    m = Model().usual()
    name = "model.layers.0.self_attn.q_proj"
    n = m.stored[name + ".scales"][1][1]
    m.stored[name + ".zeros"] = ["F32", [n, 1], bytes(4 * n)]
    m.write(path)


@kind
def one_group(path):
    served(path, Model(group_size=-1).usual())


@kind
def ragged(path):
    """The last group is short."""
    served(path, Model(group_size=40).usual())


@kind
def autoround_backend(path):
    """AutoRound 0.3 to 0.4.7, asymmetric: zeros as they are, under a label called backend."""
    model = Model(checkpoint_format="gptq_v2").usual(g_idx=False)
    del model.quant["checkpoint_format"]
    model.quant.update(quant_method="intel/auto-round", backend="auto_round:exllamav2")
    served(path, model)


@kind
def nested_config(path):
    """The one configuration is two levels below the top of config.json, and says v2."""
    model = Model(checkpoint_format="gptq_v2").usual()
    parts = {"audio_config": {"hidden_size": 8}, "text_config": {"quantization_config": model.quant}}
    model.config["thinker_config"] = parts
    served(path, model, quantize_config=False, config=False)
    write_json(path, "config.json", model.config)


@kind
def unlabelled_v2(path):
    """Unshifted zeros, and no file says so."""
    model = Model(checkpoint_format="gptq_v2").usual()
    del model.quant["checkpoint_format"]
    served(path, model)


# Properties not visible in shapes and labels.

@kind
def v2_zeros_as_v1(path):
    """GPTQModel in September 2025: zeros not shifted, although the label says so."""
    model = Model(sym=True)
    model.module("model.layers.0.self_attn.q_proj", 64, 64, subtract=(0, 0, 0))
    served(path, model)


@kind
def reversed_3bit_zeros(path):
    """GPTQModel 0.9 to 6.0.3: the three constants of 3-bit zeros in reverse."""
    model = Model(sym=True, bits=3)
    model.module("model.layers.0.self_attn.q_proj", 64, 64, subtract=(0x24924924, 0x92492492, 0x49249249))
    served(path, model)


@kind
def base_width_zeros(path):
    """GPTQModel before 7.3.2: an 8-bit head in a 4-bit model, its zeros shifted by the 4-bit constant."""
    model = Model(sym=True, dynamic={"lm_head": {"bits": 8}})
    model.module("model.layers.0.self_attn.q_proj", 64, 64)
    model.module("lm_head", 64, 32, bits=8, subtract=(0x11111111,) * 3)
    served(path, model)


@kind
def asymmetric_module(path):
    """In a symmetric model one module is not, and its zeros, all alike, look like those of v2; another's need a repair."""
    model = Model(sym=True, dynamic={"+:.*\\.q_proj$": {"sym": False}})
    model.module("model.layers.0.self_attn.q_proj", 64, 64, zero=9)
    model.module("model.layers.0.self_attn.k_proj", 64, 64, subtract=(0, 0, 0))
    served(path, model)


def old_asymmetric(version, **quant):
    return Model(meta={"quantizer": [f"gptqmodel:{version}"]}, **quant)


@kind
def reversed_3bit_asymmetric(path):
    """As reversed_3bit_zeros, without a pattern: only the version tells."""
    model = old_asymmetric("6.0.3", bits=3)
    model.module("model.layers.0.self_attn.q_proj", 64, 64, subtract=(0x24924924, 0x92492492, 0x49249249))
    served(path, model)


@kind
def base_width_asymmetric(path):
    """As base_width_zeros, without a pattern, and a module of 3 bits, whose rows are not whole multiples of 3 words."""
    model = old_asymmetric("7.3.1", dynamic={"lm_head": {"bits": 8}, ".*k_proj": {"bits": 3}})
    model.module("model.layers.0.self_attn.q_proj", 64, 64)
    model.module("model.layers.0.self_attn.k_proj", 64, 45, bits=3, subtract=(0x11111111,) * 3)
    model.module("lm_head", 64, 32, bits=8, subtract=(0x11111111,) * 3)
    served(path, model)


@kind
def mended_asymmetric(path):
    """The first versions without either fault."""
    model = old_asymmetric("7.3.2", bits=3, dynamic={"lm_head": {"bits": 8}})
    model.module("model.layers.0.self_attn.q_proj", 64, 64)
    model.module("lm_head", 64, 32, bits=8)
    served(path, model)


@kind
def packed_asymmetric(path):
    """Not shifted by an old version, as far as can be known, but a packed view says bits, by which it might be."""
    model = old_asymmetric("6.0.3")
    model.module("model.layers.0.self_attn.q_proj", 64, 64, bits=3)
    del model.quant["bits"]
    served(path, model)


@kind
def unsure_3bit_asymmetric(path):
    """Of the builds that call themselves so, some have the fault and some do not."""
    model = old_asymmetric("6.1.0-dev", bits=3)
    model.module("model.layers.0.self_attn.q_proj", 64, 64)
    model.write(path)


@kind
def zero_biases(path):
    """AutoGPTQ 0.2 to 0.7: biases that the architecture does not have. One of them is a real one."""
    model = Model().usual()
    zeros = "model.layers.0.self_attn.q_proj.bias"
    model.stored[zeros] = ["F16", [64], bytes(128)]
    model.plain("model.layers.0.mlp.down_proj.bias", [64])
    served(path, model)


@kind
def gpt2(path):
    """Conv1D weights are [in_features, out_features]; so are embeddings. The head is a Linear."""
    model = Model()
    model.config["model_type"] = "gpt2"
    model.module("transformer.h.0.attn.c_attn", 64, 96, transposed=True, act=True)
    model.module("transformer.h.0.mlp.c_fc", 96, 40, transposed=True, bias=True)
    model.module("transformer.wte", 128, 64, transposed=True)
    model.module("lm_head", 64, 32)
    served(path, model)


@kind
def embeddings(path):
    """Embeddings by sizes that the configuration gives at several depths, whatever their names; a head is a Linear, and
    so is an embedding whose codes lie along the other axis. One size of a table is a width of layers too."""
    model = Model()
    model.config.update(vocab_size=160, text_config={"vocab_size": 128, "decoder": {"vocab_size_per_layer_input": 96}},
                        audio_config={"vocab_size": 64})
    model.module("backbone.embeddings", 160, 64, transposed=True)
    model.module("shared", 128, 32, transposed=True)
    model.module("model.language_model.embed_tokens_per_layer", 96, 64, transposed=True)
    model.module("model.embed_tokens", 64, 128)
    model.module("model.layers.0.self_attn.q_proj", 64, 64)
    model.module("lm_head", 64, 160)
    served(path, model)


@kind
def tied_in_text_config(path):
    """A quantized head that the text model's configuration ties to the embedding."""
    model = Model().usual(head=False)
    model.config["text_config"] = {"tie_word_embeddings": True}
    model.module("language_model.lm_head", 64, 32)
    served(path, model)


@kind
def phimoe(path):
    """As mixtral; transformers 5 has another name for the router."""
    model = Model()
    model.config["model_type"] = "phimoe"
    ours, theirs = "model.layers.0.mlp.", "model.layers.0.block_sparse_moe."
    for part, old in (("gate_proj", "w1"), ("down_proj", "w2"), ("up_proj", "w3")):
        model.module(f"{ours}experts.1.{part}", 64, 32)
        model.dense[f"{theirs}experts.1.{old}.weight"] = model.dense.pop(f"{ours}experts.1.{part}.weight")
    model.plain(ours + "router.weight", [2, 64])
    model.dense[theirs + "gate.weight"] = model.dense.pop(ours + "router.weight")
    served(path, model)


@kind
def renamed_twice(path):
    """A renamed expert beside an integer tensor that has its name already."""
    model = Model()
    model.config["model_type"] = "mixtral"
    model.module("model.layers.0.mlp.experts.0.gate_proj", 64, 32)
    model.other("model.layers.0.block_sparse_moe.experts.0.w1.weight", [4], "I64")
    model.write(path)


@kind
def mixtral(path):
    """Experts under the names that GPTQModel 7 gives them; the class has older ones."""
    model = Model()
    model.config["model_type"] = "mixtral"
    ours, theirs = "model.layers.0.mlp.", "model.layers.0.block_sparse_moe."
    for expert in (0, 1):
        for part, old in (("gate_proj", "w1"), ("down_proj", "w2"), ("up_proj", "w3")):
            name, old = f"{ours}experts.{expert}.{part}", f"{theirs}experts.{expert}.{old}"
            model.module(name, 64, 32)
            model.dense[old + ".weight"] = model.dense.pop(name + ".weight")
    model.plain(ours + "gate.weight", [2, 64])
    model.dense[theirs + "gate.weight"] = model.dense.pop(ours + "gate.weight")
    served(path, model)


@kind
def joined_mlp(path):
    """A GLM whose MLP was split: the halves are joined again, a bias on one side too. The vision tower has two."""
    model = Model()
    model.config["model_type"] = "glm4v"
    model.module("model.layers.0.mlp.gate_proj", 64, 40)
    model.module("model.layers.0.mlp.up_proj", 64, 24, bias=True)
    model.module("model.visual.blocks.0.mlp.gate_proj", 64, 32)
    model.module("model.visual.blocks.0.mlp.up_proj", 64, 32)
    name = "model.layers.0.mlp."
    gate, up = model.dense.pop(name + "gate_proj.weight"), model.dense.pop(name + "up_proj.weight")
    model.dense[name + "gate_up_proj.weight"] = ([64, 64], gate[1] + up[1])
    model.dense[name + "gate_up_proj.bias"] = ([64], [0.0] * 40 + model.dense.pop(name + "up_proj.bias")[1])
    served(path, model)


@kind
def fusable(path):
    """What fused views join, and what they leave apart: unlike widths, one part not quantized, biases on some, a part
    that is missing, one that reads other inputs, a tower, experts."""
    model = Model()
    attention = "model.layers.0.self_attn."
    model.module(attention + "q_proj", 64, 64)
    model.module(attention + "k_proj", 64, 16, bias=True)
    model.plain(attention + "v_proj.weight", [24, 64], "F32")
    model.module("model.layers.0.mlp.gate_proj", 64, 40, act=True)
    model.module("model.layers.0.mlp.up_proj", 64, 40, bits=8)
    model.module("model.layers.1.self_attn.q_proj", 64, 32)
    model.module("model.layers.1.mlp.gate_proj", 64, 32)
    model.module("model.layers.1.mlp.up_proj", 32, 32)
    model.module("model.layers.2.mlp.experts.0.gate_proj", 64, 32)
    model.module("model.layers.2.mlp.experts.0.up_proj", 64, 32)
    for part in "kqv":
        model.plain(f"model.visual.0.self_attn.{part}_proj.weight", [8, 16], "BF16")
    model.quant["dynamic"] = {"model.layers.0.mlp.up_proj": {"bits": 8}}
    served(path, model)


@kind
def ragged_joins(path):
    """Parts that end inside of a word of zeros, in all widths of a stream; with act-order, without g_idx, with biases."""
    model = Model(dynamic={})
    for layer, bits in enumerate((2, 3, 4, 8)):
        prefix = f"model.layers.{layer}."
        model.module(prefix + "self_attn.q_proj", 64, 21, bits=bits, g_idx=layer != 2)
        model.module(prefix + "self_attn.k_proj", 64, 13, bits=bits, bias=layer == 1, g_idx=layer == 3)
        model.module(prefix + "self_attn.v_proj", 64, 5, bits=bits, g_idx=layer != 2)
        act = model.module(prefix + "mlp.gate_proj", 96, 11, bits=bits, act=True, scale="BF16")
        model.module(prefix + "mlp.up_proj", 96, 40, bits=bits, act=act, scale="BF16")
        model.quant["dynamic"][f"model.layers.{layer}..*"] = {"bits": bits}
    served(path, model)


@kind
def repaired_joins(path):
    """Of parts that are joined one stores no zeros, and one stores them wrongly."""
    model = Model(sym=True)
    model.module("model.layers.0.self_attn.q_proj", 64, 20)
    model.module("model.layers.0.self_attn.k_proj", 64, 20, qzeros=False)
    model.module("model.layers.0.self_attn.v_proj", 64, 20, subtract=(0, 0, 0))
    model.module("model.layers.0.mlp.gate_proj", 64, 32)
    model.module("model.layers.0.mlp.up_proj", 64, 32, subtract=(0, 0, 0))
    model.module("model.layers.0.mlp.down_proj", 64, 32, qzeros=False)
    served(path, model)


@kind
def unlike_parts(path):
    """What fused views join and the packed one does not; at last, what it does: parts of which none is quantized."""
    model = Model(dynamic={".*layers.0.mlp.up_proj": {"bits": 8}, ".*layers.1.mlp.up_proj": {"group_size": 16}})
    pair = [f"model.layers.{i}.mlp.{part}_proj" for i in range(8) for part in ("gate", "up")]
    model.module(pair[0], 64, 32)
    model.module(pair[1], 64, 32, bits=8)
    model.module(pair[2], 64, 32)
    model.quant["group_size"] = 16
    model.module(pair[3], 64, 32)
    model.quant["group_size"] = 32
    model.module(pair[4], 64, 32, act=True)
    model.module(pair[5], 64, 32, act=True)
    model.module(pair[6], 64, 32, scale="BF16")
    model.module(pair[7], 64, 32)
    model.module(pair[8], 64, 32)
    model.plain(pair[9] + ".weight", [32, 64])
    model.module(pair[10], 64, 32, bias=True)
    model.module(pair[11], 64, 32)
    model.plain(pair[11] + ".bias", [32], "F32")
    model.plain(pair[12] + ".weight", [32, 64], "F32")
    model.plain(pair[13] + ".weight", [32, 64])
    model.plain(pair[14] + ".weight", [31, 63], "BF16")
    model.plain(pair[15] + ".weight", [32, 63], "BF16")
    model.plain(pair[15] + ".bias", [32])
    served(path, model)


@kind
def long_rows(path):
    """Rows of 64 KiB in fp32, of groups too long to be cut at: too much for a small read, so tiles are cached."""
    model = Model(group_size=2048)
    model.module("model.layers.0.mlp.down_proj", 16384, 32)
    served(path, model)


@kind
def no_g_idx(path):
    served(path, Model().usual(g_idx=False))


@kind
def ragged_no_g_idx(path):
    served(path, Model(group_size=40).usual(g_idx=False))


@kind
def no_qzeros(path):
    served(path, Model(sym=True).usual(qzeros=False))


@kind
def biases(path):
    served(path, Model().usual(bias=True))


@kind
def tied_head(path):
    served(path, Model().usual(head=False))


@kind
def bf16_scales(path):
    served(path, Model().usual(scale="BF16", dtype="BF16"))


@kind
def f32_scales(path):
    served(path, Model().usual(scale="F32", dtype="F32"))


# Good ones: locations of files.

@kind
def diffusers(path):
    """A part of a diffusers pipeline: its configuration may not have unknown members."""
    m = Model().usual()
    m.config = {"_class_name": "FluxTransformer2DModel", "_diffusers_version": "0.33.0", "num_layers": 2}
    m.write(path, name="diffusion_pytorch_model.safetensors")
    m.write_expected(path)
    for view in VIEWS:
        write_json(os.path.dirname(path), f"{os.path.basename(path)}.config.{view}.json", m.config)


@kind
def any_name(path):
    served(path, Model().usual(), name="gptq_model-4bit-32g.safetensors")


@kind
def no_config(path):
    served(path, Model().usual(), config=False)


@kind
def only_config(path):
    served(path, Model().usual(), quantize_config=False)


@kind
def disagreeing(path):
    """quantize_config.json counts, config.json says otherwise."""
    m = Model().usual()
    served(path, m)
    write_json(path, "config.json", {**m.config, "quantization_config": {**m.quant, "checkpoint_format": "gptq_v2"}})


@kind
def sharded(path):
    m = Model().usual(layers=2)
    m.write_sharded(path, lambda i, name: f"model-{i % 3 + 1:05}-of-00003.safetensors")
    m.write_expected(path)


@kind
def sub_directories(path):
    m = Model().usual(layers=2)
    m.write_sharded(path, lambda i, name: f"layers/{i % 3}/weights.safetensors")
    m.write_expected(path)


@kind
def unlisted(path):
    """Shards hold tensors that the index does not list: a norm, and the g_idx without which a weight is another."""
    m = Model(desc_act=True).usual(act=True)
    m.plain("stray.weight", [4])
    weight_map = m.write_sharded(path, lambda i, name: f"model-{i % 2 + 1:05}-of-00002.safetensors")
    m.write_expected(path)
    write_index(path, {k: v for k, v in weight_map.items() if not k.endswith(".g_idx") and k != "stray.weight"})


@kind
def misplaced(path):
    """A shard holds a tensor, with other values, that the index places in another one."""
    m = Model().usual()
    m.write_sharded(path, lambda i, name: f"model-{i % 2 + 1:05}-of-00002.safetensors",
                    {"model-00001-of-00002.safetensors": {"model.norm.weight": ["F16", [64], b"\0" * 128]},
                     "model-00002-of-00002.safetensors": {"model.norm.weight": m.stored["model.norm.weight"]}})
    weight_map = {name: f"model-{i % 2 + 1:05}-of-00002.safetensors" for i, name in enumerate(sorted(m.stored))}
    write_index(path, {**weight_map, "model.norm.weight": "model-00002-of-00002.safetensors"})
    m.write_expected(path)


@kind
def dot_slash(path):
    """File names of the index with ./ in front."""
    m = Model().usual(layers=2)
    weight_map = m.write_sharded(path, lambda i, name: f"model-{i % 3 + 1:05}-of-00003.safetensors")
    write_index(path, {name: "./" + shard for name, shard in weight_map.items()})
    m.write_expected(path)


@kind
def numbered(path):
    """Numbered shards without an index."""
    sharded(path)
    os.remove(os.path.join(path, "model.safetensors.index.json"))


@kind
def numbered_from_zero(path):
    m = Model().usual(layers=2)
    m.write_sharded(path, lambda i, name: f"model-{i % 3:05}-of-00003.safetensors")
    os.remove(os.path.join(path, "model.safetensors.index.json"))
    m.write_expected(path)


@kind
def companions(path):
    """All kinds of files beside weights: those that pass and those that must not."""
    served(path, Model().usual())
    for name in ("tokenizer.model", "modeling_custom.py", "merges.txt", "README.md", "1_Pooling/config.json",
                 "assets/deep/er/note.txt", "empty.txt", "name, with blank.txt",
                 # hidden from here on
                 ".gitattributes", ".cache/huggingface/x.lock", "quant_log.csv", "quant_config.json.bak.gguf",
                 "pytorch_model.bin", "pytorch_model.bin.index.json", "original/consolidated.00.pth", "model.pt",
                 "tf_model.h5", "flax_model.msgpack", "model.gguf", "onnx/model.onnx",
                 "adapter_config.json", "adapter_model.safetensors"):
        os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
        write_bytes(path, name, b"" if name == "empty.txt" else f"this is {name}\n".encode())
    write_json(path, "quant_config.json", Model().quant)
    write_json(path, "quantization_config.json", Model().quant)
    write_json(path, "hf_quant_config.json", {"producer": {"name": "modelopt"}})


@kind
def parts(path):
    """Weights beside an index: parts of the model in their own right, and the same weights once more."""
    m = Model().usual(layers=2)
    m.write_sharded(path, lambda i, name: f"model-{i % 3 + 1:05}-of-00003.safetensors")
    other = ["F16", [4], b"\0" * 8]
    for name, tensors in {
            "mtp.safetensors": {"mtp.layers.0.norm.weight": other}, "2_Dense/model.safetensors": {"linear.weight": other},
            "speech-lora/adapter_model.safetensors": {"base_model.x.lora_A.weight": other},
            # hidden from here on
            "dense.safetensors": {Q + ".weight": other}, "old.safetensors": {"lm_head.weight": other},
            "adapter_model.safetensors": {"base_model.x.lora_A.weight": other}}.items():
        os.makedirs(os.path.dirname(os.path.join(path, name)), exist_ok=True)
        write_safetensors(os.path.join(path, name), tensors)
    for name in ("spk_dict.pt", "broken.safetensors", "pytorch_model.bin"):
        write_bytes(path, name, f"this is {name}\n".encode())
    write_json(os.path.join(path, "speech-lora"), "adapter_config.json", {"r": 8})
    m.write_expected(path)


@kind
def hf_cache(path):
    """models--org--name as in the Hugging Face cache, with a sub-directory."""
    m = Model().usual()
    entry, commit = os.path.join(path, "models--org--name"), "0123456789abcdef0123456789abcdef01234567"
    snapshot = os.path.join(entry, "snapshots", commit)
    m.write(snapshot)
    write_bytes(os.path.join(snapshot, "1_Pooling"), "config.json", b"{}\n")
    os.makedirs(os.path.join(entry, "blobs"))
    os.makedirs(os.path.join(entry, "refs"))
    write_bytes(os.path.join(entry, "refs"), "main", commit.encode())
    for where, _, names in list(os.walk(snapshot)):
        for name in names:
            full = os.path.join(where, name)
            with open(full, "rb") as f:
                data = f.read()
            # Named as by the hub: files not in LFS by their git hash.
            blob = hashlib.sha256(data) if name.endswith(".safetensors") else hashlib.sha1(b"blob %d\0" % len(data) + data)
            blob = os.path.join(entry, "blobs", blob.hexdigest())
            os.rename(full, blob)
            os.symlink(os.path.relpath(blob, where), full)
    m.write_expected(path)


def write_holes(path, modules, k, n):
    """Modules that take almost no space on disk."""
    m = Model(sym=True, group_size=-1)
    m.write_companions(path)
    shapes = {}
    for name in modules:
        shapes[name + ".qweight"] = ("I32", [k // 8, n])
        shapes[name + ".scales"] = ("F16", [1, n])
    shapes["model.norm.weight"] = ("F16", [64])
    header, at = {}, 0
    for name, (dtype, shape) in shapes.items():
        size = DTYPE_BYTES[dtype]
        for s in shape:
            size *= s
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(os.path.join(path, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(8 + len(text) + at)


@kind
def big(path):
    """More than 5 GB in every dense view."""
    write_holes(path, [f"model.layers.{i}.mlp.down_proj" for i in range(3)], 16384, 65536)


@kind
def big_packed(path):
    """More than 5 GB in packed form."""
    write_holes(path, [f"model.layers.{i}.mlp.{part}_proj" for i in range(6) for part in ("gate", "up")], 16384, 65536)


@kind
def names(path):
    """Names that would be dangerous as paths: of modules, and of tensors that are not quantized."""
    model = Model()
    modules = ["../../escape", "a/b", "/", "%", "%2F", "nul\0nul", "new\nline", "tab\t", "b\\slash", "..", "", "层.é", " ",
               "y" * 300 + "1", "y" * 300 + "2", "/" * 100, "é" * 150, ".".join("d" * 40)]
    for name in modules:
        model.module(name, 32, 8)
    model.plain("%.bias", [8])
    tensors = ["", "weight", ".", "x", "x.weight", "x.weight.weight", "x.weight.weight.weight", "x.bias", "x.info", "x.npy.t",
               "x.safetensors.weight", "x.t.npy", "X", "...", "e" * 200, "e" * 201, "\x1f\x7f", ".".join(["deep"] * 31),
               ".".join(["deep"] * 32), ".".join(["deep"] * 33), ".".join(["deep"] * 33) + "%2Edeep", "nul%00nul.weight",
               "a%2Fb.weight", "p.weight", "p.x.weight", "p.bias", "p.q.r.weight", "p-q.weight", "p.bias.weight"]
    for name in tensors:
        model.plain(name, [3, 2])
    served(path, model)


@kind
def types(path):
    """Tensors of every type and of odd shapes beside the quantized ones."""
    model = Model().usual()
    for dtype in DTYPE_BYTES:
        if dtype in ("F8_E4M3", "F8_E5M2"):
            model.float8(f"other.{dtype}.weight", [16, 16], dtype)
        elif dtype not in ("F16", "BF16", "F32"):
            model.other(f"other.{dtype}.weight", [3, 5], dtype)
    model.other("other.list", [7], "I64")
    model.other("other.scalar", [], "I32")
    model.other("other.empty", [0, 4], "U8")
    for dtype in "F16", "BF16", "F32":
        model.plain(f"float.{dtype}.weight", [4, 6], dtype)
        model.plain(f"float.{dtype}.bias", [4], dtype)
        model.plain(f"float.{dtype}.scalar", [], dtype)
        model.plain(f"float.{dtype}.cube", [2, 3, 4], dtype)
        model.plain(f"float.{dtype}.empty", [3, 0], dtype)
    model.other("float.F16.codes.bias", [4], "I8")
    model.plain("float.F16.codes.weight", [4, 6])
    served(path, model)
