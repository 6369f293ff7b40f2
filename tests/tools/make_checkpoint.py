#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tiny GPTQ checkpoints: good ones, odd ones and every kind of damage.

    make_checkpoint.py KIND DIR      writes the checkpoint into the new directory DIR
    make_checkpoint.py --list        names the kinds

It packs codes itself, from the description of the format, so that it also knows what the dense model is: for kinds
that can be served it writes DIR.F16.json, DIR.BF16.json and DIR.F32.json for compare.py, and for kinds about
config.json what that file should be in each view, DIR.config.VIEW.json.
"""
import hashlib
import json
import os
import random
import struct
import sys

DTYPE_BYTES = {"F16": 2, "BF16": 2, "F32": 4, "BOOL": 1, "U8": 1, "I8": 1, "U16": 2, "I16": 2, "U32": 4, "I32": 4, "U64": 8,
               "I64": 8, "C64": 8, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1}
VIEWS = {"fp16": ("F16", "float16"), "bf16": ("BF16", "bfloat16"), "fp32": ("F32", "float32")}


# ---- numbers ----

def f32(x):
    """x rounded to the nearest float32."""
    return struct.unpack("<f", struct.pack("<f", x))[0]


def encode(x, dtype):
    if dtype == "F32":
        return struct.pack("<f", x)
    if dtype == "F16":
        return struct.pack("<e", f32(x))
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return struct.pack("<H", (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


def decode(raw, dtype):
    if dtype == "F32":
        return struct.unpack("<f", raw)[0]
    if dtype == "F16":
        return struct.unpack("<e", raw)[0]
    return struct.unpack("<f", b"\0\0" + raw)[0]


def decode_f8(byte, dtype):
    """OCP 8-bit floating point: E4M3 has NaN in one place and no infinity, E5M2 is IEEE's."""
    sign = -1.0 if byte & 0x80 else 1.0
    bits, bias = (3, 7) if dtype == "F8_E4M3" else (2, 15)
    exponent, mantissa = byte >> bits & ((0x80 >> bits) - 1), byte & ((1 << bits) - 1)
    if dtype == "F8_E4M3" and byte & 0x7F == 0x7F:
        return float("nan")
    if dtype == "F8_E5M2" and exponent == 31:
        return float("nan") if mantissa else sign * float("inf")
    if exponent == 0:
        return sign * mantissa * 2.0 ** (1 - bias - bits)
    return sign * (1 + mantissa / (1 << bits)) * 2.0 ** (exponent - bias)


def pack(values, bits):
    """One stream of codes, lowest bits first, as 32-bit words."""
    stream = 0
    for i, value in enumerate(values):
        stream |= value << (bits * i)
    return [stream >> (32 * w) & 0xFFFFFFFF for w in range((len(values) * bits + 31) // 32)]


def words(rows):
    return b"".join(struct.pack(f"<{len(row)}I", *row) for row in rows)


# ---- a checkpoint in memory ----

class Model:
    """Tensors as they are stored, and the dense values they encode."""

    def __init__(self, **quant):
        self.random = random.Random(20240229)
        self.stored = {}  # name -> [dtype, shape, bytes]
        self.dense = {}  # name -> (shape, floats)
        self.others = {}  # name -> [dtype, shape, bytes] of what passes unchanged
        self.quant = {"bits": 4, "group_size": 32, "desc_act": False, "sym": False, "quant_method": "gptq",
                      "checkpoint_format": "gptq", **quant}
        self.config = {"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "model_type": "llama",
                       "rms_norm_eps": 1e-06, "torch_dtype": "float16", "dtype": "float16"}

    def plain(self, name, shape, dtype="F16"):
        count = 1
        for n in shape:
            count *= n
        raw = [encode(self.random.gauss(0, 1), dtype) for _ in range(count)]
        self.stored[name] = [dtype, shape, b"".join(raw)]
        self.dense[name] = (shape, [decode(r, dtype) for r in raw])

    def other(self, name, shape, dtype):
        size = DTYPE_BYTES[dtype]
        for n in shape:
            size *= n
        limit = 1 if dtype == "BOOL" else 255
        self.stored[name] = self.others[name] = [dtype, shape, bytes(self.random.randint(0, limit) for _ in range(size))]

    def float8(self, name, shape, dtype):
        """Every byte there is, as long as there is room."""
        raw = bytes(range(256))[:shape[0] * shape[1]]
        self.stored[name] = [dtype, shape, raw]
        self.dense[name] = (shape, [decode_f8(byte, dtype) for byte in raw])

    def module(self, name, k, n, act=False, scale="F16", g_idx=True, qzeros=True, bias=False, bits=None,
               subtract=None, turned=False):
        """A quantized Linear of k inputs and n outputs.

        act: groups are scattered; a list of them is taken as it is. Returns the list.
        subtract: what a faulty writer took from the words 0, 1, 2, 0, ... of a row of zeros, instead of one per field.
        turned: the class keeps the weight as [k, n].
        """
        bits, rnd = bits or self.quant["bits"], self.random
        size = self.quant["group_size"] if self.quant["group_size"] > 0 else k
        groups = (k + size - 1) // size
        group = [i // size for i in range(k)]
        if act is True:
            rnd.shuffle(group)
        elif act:
            group = act
        middle = 1 << (bits - 1)
        values = range(1 << bits)
        codes = [rnd.choices(values, k=n) for _ in range(k)]
        zeros = [[middle] * n if self.quant["sym"] else rnd.choices(values, k=n) for _ in range(groups)]
        # Some scales are negative: a product of zero is then -0.0.
        scales = [[encode(rnd.uniform(-0.02, 0.02), scale) for _ in range(n)] for _ in range(groups)]
        columns = [pack([codes[i][j] for i in range(k)], bits) for j in range(n)]
        self.stored[name + ".qweight"] = ["I32", [len(columns[0]), n], words(zip(*columns))]
        if qzeros:
            # One less in every field of 3 bits; others see below.
            less = bits == 3 and subtract is None and self.quant["checkpoint_format"] == "gptq"
            packed = [pack([(z - 1) & 7 for z in row] if less else row, bits) for row in zeros]
            if subtract is not None:
                packed = [[(word - subtract[i % 3]) & 0xFFFFFFFF for i, word in enumerate(row)] for row in packed]
            elif self.quant["checkpoint_format"] == "gptq" and bits != 3:
                # One less in every field, by one subtraction from the word: the borrow of a zero goes on.
                one = pack([1] * (32 // bits), bits)[0]
                packed = [[(word - one) & 0xFFFFFFFF for word in row] for row in packed]
            self.stored[name + ".qzeros"] = ["I32", [groups, len(packed[0])], words(packed)]
        self.stored[name + ".scales"] = [scale, [groups, n], b"".join(b"".join(row) for row in scales)]
        if g_idx:
            self.stored[name + ".g_idx"] = ["I32", [k], words([group])]
        def value(i, j):
            return f32(decode(scales[group[i]][j], scale) * (codes[i][j] - zeros[group[i]][j]))
        if turned:
            self.dense[name + ".weight"] = ([k, n], [value(i, j) for i in range(k) for j in range(n)])
        else:
            self.dense[name + ".weight"] = ([n, k], [value(i, j) for j in range(n) for i in range(k)])
        if bias:
            self.plain(name + ".bias", [n])
        return group

    def usual(self, layers=1, head=True, dtype="F16", **options):
        """The tensors of a very small Llama."""
        self.plain("model.embed_tokens.weight", [32, 64], dtype)
        for i in range(layers):
            layer = f"model.layers.{i}."
            self.module(layer + "self_attn.q_proj", 64, 64, **options)
            self.module(layer + "mlp.down_proj", 96, 64, **options)
            self.plain(layer + "input_layernorm.weight", [64], dtype)
        self.plain("model.norm.weight", [64], dtype)
        if head:
            self.plain("lm_head.weight", [32, 64], dtype)
        return self

    # ---- writing ----

    def write_companions(self, path, quantize_config=True, config=True):
        os.makedirs(path, exist_ok=True)
        if config:
            write_json(path, "config.json", {**self.config, "quantization_config": self.quant})
        if quantize_config:
            write_json(path, "quantize_config.json", self.quant)
        write_json(path, "tokenizer.json", {"version": "1.0", "model": {"type": "BPE", "vocab": {"a": 0}}})
        write_json(path, "generation_config.json", {"bos_token_id": 1, "do_sample": True})

    def write(self, path, name="model.safetensors", edit=None, **companions):
        self.write_companions(path, **companions)
        write_safetensors(os.path.join(path, name), self.stored, edit)

    def write_expected(self, path):
        for dtype in ("F16", "BF16", "F32"):
            out = {}
            for name, (shape, values) in self.dense.items():
                raw = b"".join(encode(v, dtype) for v in values)
                out[name] = {"dtype": dtype, "shape": shape, "sha256": hashlib.sha256(raw).hexdigest()}
            for name, (own, shape, raw) in self.others.items():
                out[name] = {"dtype": own, "shape": shape, "sha256": hashlib.sha256(raw).hexdigest()}
            write_json(os.path.dirname(path), f"{os.path.basename(path)}.{dtype}.json", out)

    def write_sharded(self, path, place, unlisted=None):
        """place(i, name) is the shard of the i-th tensor by name. The parts of one module are in several."""
        self.write_companions(path)
        shards, weight_map = {}, {}
        for i, name in enumerate(sorted(self.stored)):
            weight_map[name] = place(i, name)
            shards.setdefault(weight_map[name], {})[name] = self.stored[name]
        for shard, tensors in {**shards, **(unlisted or {})}.items():
            os.makedirs(os.path.dirname(os.path.join(path, shard)), exist_ok=True)
            write_safetensors(os.path.join(path, shard), {**shards.get(shard, {}), **tensors})
        write_index(path, weight_map)
        return weight_map


def write_json(path, name, value):
    with open(os.path.join(path, name), "w") as f:
        json.dump(value, f, indent=2)


def write_index(path, weight_map):
    write_json(path, "model.safetensors.index.json", {"metadata": {"total_size": 1}, "weight_map": weight_map})


def write_bytes(path, name, data):
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, name), "wb") as f:
        f.write(data)


def write_safetensors(path, tensors, edit=None):
    """edit(header) may spoil the header before it is written, or return other bytes for it."""
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape, raw) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(raw)]}
        at += len(raw)
    text = edit(header) if edit else None
    if text is None:
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, _, raw in tensors.values():
            f.write(raw)


# ---- kinds ----

KINDS = {}
Q = "model.layers.0.self_attn.q_proj"


def kind(function):
    KINDS[function.__name__] = function
    return function


def served(path, model, **write):
    model.write(path, **write)
    model.write_expected(path)


# Good ones: what the tensors may be.

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
    """Zeros as they are, and no file says so."""
    model = Model(checkpoint_format="gptq_v2").usual()
    del model.quant["checkpoint_format"]
    served(path, model)


# What shapes and labels alone do not tell.

@kind
def v2_zeros_as_v1(path):
    """GPTQModel in September 2025: zeros not shifted, and the label says that they are."""
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
    model.module("transformer.h.0.attn.c_attn", 64, 96, turned=True, act=True)
    model.module("transformer.h.0.mlp.c_fc", 96, 40, turned=True, bias=True)
    model.module("transformer.wte", 128, 64, turned=True)
    model.module("lm_head", 64, 32)
    served(path, model)


@kind
def embeddings(path):
    """Embeddings by sizes that the configuration gives at several depths, whatever their names; a head is a Linear, and
    so is an embedding whose codes lie along the other axis. One size of a table is a width of layers too."""
    model = Model()
    model.config.update(vocab_size=160, text_config={"vocab_size": 128, "decoder": {"vocab_size_per_layer_input": 96}},
                        audio_config={"vocab_size": 64})
    model.module("backbone.embeddings", 160, 64, turned=True)
    model.module("shared", 128, 32, turned=True)
    model.module("model.language_model.embed_tokens_per_layer", 96, 64, turned=True)
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


# Experts that were saved one by one, and the tensors that classes of transformers have for them.

def stack(model, name, experts, order):
    """Puts one tensor in place of the parts of each expert: rows after rows, or columns of the parts, side by side or in turns."""
    values, first = [], [model.dense[part][0] for part in experts[0]]
    for parts in experts:
        columns = []
        for shape, flat in [model.dense.pop(part) for part in parts]:
            width = shape[1] if len(shape) == 2 else 1
            rows = [flat[i * width:(i + 1) * width] for i in range(shape[0])]
            columns.append(rows)
            if order == "rows":
                values += flat
        if order == "columns":
            lines = [row for rows in columns for row in rows]
        elif order == "turns":
            lines = [row for pair in zip(*columns) for row in pair]
        if order != "rows":
            values += [line[k] for k in range(len(lines[0])) for line in lines]
    out, inner = sum(shape[0] for shape in first), first[0][1:]
    model.dense[name] = ([len(experts), out] + inner if order == "rows" else [len(experts)] + inner + [out], values)


def experts_of(prefix, count, *parts):
    return [[f"{prefix}{i}.{part}" for part in parts] for i in range(count)]


def moe(model_type, **config):
    model = Model()
    model.config["model_type"] = model_type
    model.config.update(config)
    model.module("model.layers.0.self_attn.q_proj", 64, 64)
    return model


def gpt_oss(path, order, count=3, act=False, **config):
    """Biases; 40 inputs of down_proj, which are no whole number of groups."""
    model = moe("gpt_oss", num_local_experts=count, **config)
    experts = "model.layers.0.mlp.experts."
    for i in range(count):
        model.module(f"{experts}{i}.gate_proj", 64, 40, bias=True, act=act)
        model.module(f"{experts}{i}.up_proj", 64, 40, bias=True)
        model.module(f"{experts}{i}.down_proj", 40, 64, bias=True)
    stack(model, experts + "gate_up_proj", experts_of(experts, count, "gate_proj.weight", "up_proj.weight"), order)
    stack(model, experts + "gate_up_proj_bias", experts_of(experts, count, "gate_proj.bias", "up_proj.bias"), order)
    stack(model, experts + "down_proj", experts_of(experts, count, "down_proj.weight"), "columns")
    stack(model, experts + "down_proj_bias", experts_of(experts, count, "down_proj.bias"), "rows")
    served(path, model)


@kind
def gpt_oss_turns(path):
    """AutoRound and llm-compressor with transformers 4: gate has the even columns, up the odd ones. Act-order too."""
    gpt_oss(path, "turns", act=True, transformers_version="4.57.1")


@kind
def gpt_oss_halves(path):
    """Everything with transformers 5: halves of columns that are in turns, whatever they are called."""
    gpt_oss(path, "columns", transformers_version="5.4.0")


@kind
def gpt_oss_undivided(path):
    """GPTQModel 4.2 to 5.7: gate_up.0 ... gate_up.11, whose rows are the columns of the class."""
    model, count = moe("gpt_oss", num_local_experts=12), 12
    experts = "model.layers.0.mlp.experts."
    for i in range(count):
        model.module(f"{experts}gate_up.{i}", 32, 16, bias=True)
        model.module(f"{experts}down.{i}", 8, 32, bias=True)
    for ours, theirs in ("gate_up", "gate_up_proj"), ("down", "down_proj"):
        stack(model, experts + theirs, experts_of(f"{experts}{ours}.", count, "weight"), "columns")
        stack(model, experts + theirs + "_bias", experts_of(f"{experts}{ours}.", count, "bias"), "rows")
    served(path, model)


@kind
def gpt_oss_stored(path):
    """unsloth's names; experts that are not quantized, in two types; their router."""
    model, count = moe("gpt_oss"), 2
    experts = "model.layers.0.mlp.experts."
    for i in range(count):
        model.plain(f"{experts}gate_up_projs.{i}.weight", [24, 64], "BF16")
        model.plain(f"{experts}down_projs.{i}.weight", [64, 12], "F16")
    stack(model, experts + "gate_up_proj", experts_of(experts + "gate_up_projs.", count, "weight"), "columns")
    stack(model, experts + "down_proj", experts_of(experts + "down_projs.", count, "weight"), "columns")
    model.plain("model.layers.0.mlp.router.linear.weight", [count, 64])
    model.dense["model.layers.0.mlp.router.weight"] = model.dense.pop("model.layers.0.mlp.router.linear.weight")
    served(path, model)


@kind
def gpt_oss_unknown_cut(path):
    """Nothing says how gate and up were cut: gate_up stays apart, and only down is one tensor."""
    model, count = moe("gpt_oss"), 2
    experts = "model.layers.0.mlp.experts."
    for i in range(count):
        for name, k, n in ("gate_proj", 64, 32), ("up_proj", 64, 32), ("down_proj", 32, 64):
            model.module(f"{experts}{i}.{name}", k, n)
    stack(model, experts + "down_proj", experts_of(experts, count, "down_proj.weight"), "columns")
    served(path, model)


def two_stacks(model, prefix, count, gate_up, down, order, inner=32):
    for i in range(count):
        model.module(f"{prefix}{i}.gate_proj", 64, inner)
        model.module(f"{prefix}{i}.up_proj", 64, inner)
        model.module(f"{prefix}{i}.down_proj", inner, 64)
    stack(model, gate_up, experts_of(prefix, count, "gate_proj.weight", "up_proj.weight"), order)
    stack(model, down, experts_of(prefix, count, "down_proj.weight"), order)


@kind
def llama4(path):
    model = moe("llama4", text_config={"model_type": "llama4_text", "num_local_experts": 2})
    mlp = "language_model.model.layers.1.feed_forward."
    two_stacks(model, mlp + "experts.", 2, mlp + "experts.gate_up_proj", mlp + "experts.down_proj", "columns", 96)
    model.module(mlp + "shared_expert.gate_proj", 64, 32)
    served(path, model)


@kind
def qwen3_vl_moe(path):
    """gate_up is square here: two ages of transformers disagree on it."""
    model = moe("qwen3_vl_moe", text_config={"model_type": "qwen3_vl_moe_text", "num_experts": 4})
    mlp = "model.language_model.layers.0.mlp."
    two_stacks(model, mlp + "experts.", 4, mlp + "experts.gate_up_proj", mlp + "experts.down_proj", "columns")
    served(path, model)


@kind
def granitemoe(path):
    """Rows after rows; the router by its older name. The experts of another layer are not quantized."""
    model, count = moe("granitemoehybrid", num_local_experts=2), 2
    moe_of = "model.layers.%d.block_sparse_moe."
    two_stacks(model, moe_of % 0 + "experts.", count, moe_of % 0 + "input_linear.weight",
               moe_of % 0 + "output_linear.weight", "rows")
    for i in range(count):
        for name, n, k in ("input_linear", 64, 64), ("output_linear", 64, 32):
            model.plain(f"{moe_of % 1}{name}.{i}.linear.weight", [n, k])
    for name in "input_linear", "output_linear":
        stack(model, f"{moe_of % 1}{name}.weight", experts_of(f"{moe_of % 1}{name}.", count, "linear.weight"), "rows")
    model.plain(moe_of % 0 + "router.weight", [count, 64])
    model.dense[moe_of % 0 + "router.layer.weight"] = model.dense.pop(moe_of % 0 + "router.weight")
    served(path, model)


@kind
def aria(path):
    model = moe("aria", text_config={"model_type": "aria_text", "moe_num_experts": 2})
    mlp = "language_model.model.layers.0.mlp."
    two_stacks(model, mlp + "experts.", 2, mlp + "experts.fc1.weight", mlp + "experts.fc2.weight", "columns")
    served(path, model)


@kind
def gemma4(path):
    model = moe("gemma4", text_config={"model_type": "gemma4_text", "num_experts": 2})
    layer = "model.language_model.layers.0."
    two_stacks(model, layer + "experts.", 2, layer + "experts.gate_up_proj", layer + "experts.down_proj", "rows")
    served(path, model)


@kind
def missing_expert(path):
    """Expert 1 has no up_proj: gate_up stays apart."""
    model = moe("llama4_text", num_local_experts=3)
    mlp = "model.layers.0.feed_forward.experts."
    for i in range(3):
        for name, k, n in ("gate_proj", 64, 32), ("up_proj", 64, 32), ("down_proj", 32, 64):
            if (i, name) != (1, "up_proj"):
                model.module(f"{mlp}{i}.{name}", k, n)
    stack(model, mlp + "down_proj", experts_of(mlp, 3, "down_proj.weight"), "columns")
    served(path, model)


@kind
def unknown_experts(path):
    """A class that is not known here."""
    model = moe("brand_new_moe")
    for i in range(2):
        model.module(f"model.layers.0.mlp.experts.{i}.gate_proj", 64, 32)
    served(path, model)


@kind
def router_bias(path):
    """A router's e_score_correction_bias is F32 in every view, if it is stored so; another F32 tensor is not."""
    model = Model().usual()
    layer = "model.layers.0.mlp.gate."
    model.plain(layer + "e_score_correction_bias", [8], "F32")
    model.dense.pop(layer + "e_score_correction_bias")
    model.others[layer + "e_score_correction_bias"] = model.stored[layer + "e_score_correction_bias"]
    model.plain(layer + "weight", [8, 64], "F32")
    model.plain("model.layers.1.mlp.gate.e_score_correction_bias", [8], "BF16")
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


# Good ones: where the files may be.

@kind
def diffusers(path):
    """A part of a diffusers pipeline: its configuration takes no member that it does not know."""
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
    """Everything that lies beside weights: what passes and what must not."""
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
    """models--org--name as the Hugging Face cache has it; a sub-directory too."""
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
            # As the hub names them: what is not in LFS by its hash in git.
            blob = hashlib.sha256(data) if name.endswith(".safetensors") else hashlib.sha1(b"blob %d\0" % len(data) + data)
            blob = os.path.join(entry, "blobs", blob.hexdigest())
            os.rename(full, blob)
            os.symlink(os.path.relpath(blob, where), full)
    m.write_expected(path)


def write_holes(path, modules, k, n):
    """Modules of next to nothing on disk."""
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
    """More than 5 GB as it is packed."""
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


# Good ones: how config.json may be spelled. What is not about quantization or type keeps every byte.

MEMBERS = [
    ('"architectures"', '[ "LlamaForCausalLM" ]'), ('"rope_theta"', '10000.0'), ('"rms_norm_eps"', '1e-06'),
    ('"tiny"', '1E-7'), ('"negative"', '-0.0'), ('"long"', '123456789012345678901234567890'),
    ('"name"', '"Grüße 模型 😀"'), ('"esc\\u00e9"', '"\\u00e9\\/\\ud83d\\ude00\\t"'),
    ('"note"', '{"quantization_config_note" : "kept","a" :[1,2 , 3] }'), ('"empty"', '{ }'),
    ('"torch_dtype"', None), ('"yes"', 'true'), ('"dtype"', None), ('"end"', 'null'),
]


def join(members, style, dtype):
    before, between, colon, after = style
    items = [key + colon + (f'"{dtype}"' if value is None else value) for key, value in members]
    return "{" + before + ("," + between).join(items) + after + "}"


PRETTY = ("\n  ", "\n  ", ": ", "\n")
COMPACT = ("", "", ":", "")
ODD = (" \t", "\r\n\t ", " :  ", "\r\n ")


def config_case(path, source, expected):
    """source is the whole text of config.json; expected(dtype) what a view makes of it."""
    m = Model().usual()
    m.write(path, config=False)
    m.write_expected(path)
    write_bytes(path, "config.json", source.encode())
    for view, (_, dtype) in VIEWS.items():
        write_bytes(os.path.dirname(path), f"{os.path.basename(path)}.config.{view}.json", expected(dtype).encode())


def config_at(path, position, style):
    quant = ('"quantization_config"', json.dumps(Model().quant))
    members = MEMBERS[:position] + [quant] + MEMBERS[position:]
    config_case(path, join(members, style, "bfloat16"), lambda dtype: join(MEMBERS, style, dtype))


@kind
def config_first(path):
    config_at(path, 0, PRETTY)


@kind
def config_middle(path):
    config_at(path, 5, PRETTY)


@kind
def config_last(path):
    config_at(path, len(MEMBERS), PRETTY)


@kind
def config_compact_first(path):
    config_at(path, 0, COMPACT)


@kind
def config_compact_last(path):
    config_at(path, len(MEMBERS), COMPACT)


@kind
def config_odd_blanks(path):
    config_at(path, 5, ODD)


@kind
def config_only_member(path):
    added = [('"torch_dtype"', None), ('"dtype"', None)]
    config_case(path, join([('"quantization_config"', json.dumps(Model().quant))], PRETTY, ""),
                lambda dtype: join(added, PRETTY, dtype))


@kind
def config_without_dtype(path):
    quant = ('"quantization_config"', json.dumps(Model().quant, indent=4))
    rest = [m for m in MEMBERS if m[1] is not None]
    added = rest + [('"torch_dtype"', None), ('"dtype"', None)]
    config_case(path, join(rest[:3] + [quant] + rest[3:], PRETTY, ""), lambda dtype: join(added, PRETTY, dtype))


@kind
def config_python(path):
    """json.dumps writes numbers that JSON does not have; Mamba hybrids have them in time_step_limit."""
    members = MEMBERS + [('"time_step_limit"', '[0.0, Infinity]'), ('"low"', '-Infinity'), ('"none"', 'NaN')]
    quant = ('"quantization_config"', json.dumps({**Model().quant, "damp": float("nan"), "mse": float("inf")}))
    config_case(path, join(members[:3] + [quant] + members[3:], PRETTY, "bfloat16"),
                lambda dtype: join(members, PRETTY, dtype))
    write_json(path, "quantize_config.json", {**Model().quant, "damp": float("-inf")})


@kind
def config_text(path):
    """A model of several parts keeps it in text_config, and has a type there too."""
    inner = [('"hidden_size"', '64'), ('"dtype"', None), ('"rope_theta"', '1000000.0')]
    style = ("\n    ", "\n    ", ": ", "\n  ")
    quant = ('"quantization_config"', json.dumps(Model().quant))

    def whole(parts, dtype):
        return join(MEMBERS[:4] + [('"text_config"', join(parts, style, dtype))] + MEMBERS[4:], PRETTY, dtype)
    config_case(path, whole(inner[:1] + [quant] + inner[1:], "bfloat16"), lambda dtype: whole(inner, dtype))
    os.remove(os.path.join(path, "quantize_config.json"))


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
label("awq_label", quant_method="awq", version="gemm")
label("compressed_tensors_label", quant_method="compressed-tensors", format="pack-quantized")
label("fp8_label", quant_method="fp8", weight_block_size=[128, 128])
label("bitsandbytes_label", quant_method="bitsandbytes", load_in_4bit=True)
label("hqq_label", quant_method="hqq")
label("exl2_label", quant_method="exl2")
label("exl3_label", quant_method="exl3")
label("mxfp4_label", quant_method="mxfp4")
label("unknown_method", quant_method="zipweights")
label("unknown_format", checkpoint_format="gptq_v9")
label("rotated", rotation="hadamard")
label("autoround_awq", quant_method="auto-round", packing_format="auto_round:auto_awq")


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
foreign("awq_tensors", qweight=("I32", [64, 8]), qzeros=("I32", [2, 8]), scales=("F16", [2, 64]))
foreign("compressed_tensors_tensors", weight_packed=("I32", [64, 8]), weight_scale=("F16", [64, 2]),
        weight_shape=("I64", [2]))
foreign("bitsandbytes_tensors", weight=("I8", [64, 64]), SCB=("F32", [64]))
foreign("bitsandbytes4_tensors", **{"weight": ("U8", [2048, 1]), "weight.absmax": ("F32", [64]),
                                    "weight.quant_map": ("F32", [16]),
                                    "weight.quant_state.bitsandbytes__nf4": ("U8", [80])})
foreign("hqq_tensors", W_q=("U8", [32, 64]), scale=("F16", [64, 2]), zero=("F16", [64, 2]))
foreign("exl2_tensors", q_weight=("I32", [8, 64]), q_scale=("I32", [2, 8]), q_perm=("I32", [64]))
foreign("exl3_tensors", trellis=("I32", [4, 4, 32]), suh=("F16", [64]), svh=("F16", [64]))
foreign("dense", weight=("F16", [64, 64]))
foreign("mlx_tensors", weight=("U32", [64, 8]), scales=("F16", [64, 1]), biases=("F16", [64, 1]))
foreign("int8_tensors", weight=("I8", [64, 64]), scale_of_it=("F32", [64]))
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


def main():
    if sys.argv[1:] == ["--list"]:
        print("\n".join(KINDS))
        return 0
    if len(sys.argv) != 3 or sys.argv[1] not in KINDS:
        print(__doc__, file=sys.stderr)
        return 1
    KINDS[sys.argv[1]](os.path.abspath(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
