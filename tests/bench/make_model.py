#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes quantized checkpoints for benchmarks: shapes of real models, with meaningless bytes.

    make_model.py llama [--view-gb 3] DIR      Llama-2-7B's layers, as many as make a view of that size in 16 bits
    make_model.py llama --layers 80 --hidden 8192 --inter 28672 --kv 1024 --sparse DIR     a 70B
    make_model.py moe [--tensors 100000] DIR   experts, about that many tensors (always sparse)
    make_model.py flat [--tensors 100] [--view-gb 1] DIR     only that many equal modules
    make_model.py gpt-oss [--view-gb 3] DIR    layers of gpt-oss, whose experts are MXFP4 in tensors of four dimensions
    make_model.py deepseek [--layers 61] DIR   DeepSeek-V3 in FP8, 90,000 tensors (always sparse)

--family NAME uses another format than GPTQ; families.py lists them. --sparse leaves holes in place of codes, scales and
zeros, so that files of any size take no space. DIR is created, must not contain a model, and defaults to a new
directory under $TMPDIR, whose name is printed.
"""

import argparse
import array
import json
import os
import random
import struct
import sys
import tempfile

from families import FAMILIES

BLOCK = 16 << 20
SIZES = {"I64": 8, "I32": 4, "U32": 4, "F32": 4, "F16": 2, "BF16": 2, "U8": 1, "I8": 1, "F8_E4M3": 1}
SHARD = 5_000_000_000

# High bytes of fp16 numbers as in a model: scales of 2^-10 to 2^-8, weights of about +-2^-6.
SCALES = bytes(0x14 + (b & 7) for b in range(256))
# FP8 codes without NaN; exponents of 2^-12 to 2^-5. BF16 and F32 scales are 2^-9 to 2^-7.
CODES = bytes(b if b & 0x7F != 0x7F else b ^ 1 for b in range(256))
EXPONENTS = bytes(115 + (b & 7) for b in range(256))
WEIGHTS = bytes((b & 0x80) | 0x20 + (b & 7) for b in range(256))


class Source:
    """Endless bytes: a random block, repeated from changing offsets so that tensors differ."""

    def __init__(self, kind):
        block = bytearray(os.urandom(BLOCK))
        if kind in ("scales", "weights"):
            block[1::2] = block[1::2].translate(SCALES if kind == "scales" else WEIGHTS)
        elif kind == "fp8":
            block = block.translate(CODES)
        elif kind == "e8m0":
            block = block.translate(EXPONENTS)
        elif kind == "bf16":
            block[1::2] = bytes([0x3B]) * len(block[1::2])
        elif kind == "f32":
            block[3::4] = bytes([0x3B]) * len(block[3::4])
        self.block = memoryview(bytes(block) * 2)
        self.at = 0

    def write(self, f, n):
        while n > 0:
            step = min(n, BLOCK)
            f.write(self.block[self.at:self.at + step])
            self.at = (self.at + 65536 + 4096) % BLOCK
            n -= step


class Writer:
    """Collects tensors, then writes them into shards."""

    def __init__(self, args):
        self.args = args
        self.tensors = []  # name, dtype, shape, bytes, kind
        self.sources = {}
        self.orders = {}

    def add(self, name, dtype, shape, kind):
        n = SIZES[dtype]
        for d in shape:
            n *= d
        self.tensors.append((name, dtype, shape, n, kind))

    def module(self, name, k, n, order):
        if self.args.family != "gptq":
            for suffix, (dtype, shape, kind) in FAMILIES[self.args.family][0](n, k).items():
                self.add(f"{name}.{suffix}", dtype, shape, kind)
            return
        g, bits = self.args.group, self.args.bits
        groups = -(-k // g)
        self.add(name + ".g_idx", "I32", [k], ("g_idx", order))
        self.add(name + ".qweight", "I32", [-(-k * bits // 32), n], "codes")
        self.add(name + ".qzeros", "I32", [groups, -(-n * bits // 32)], "zeros")
        self.add(name + ".scales", "F16", [groups, n], "scales")

    def weight(self, name, shape):
        self.add(name, "F16", shape, "weights")

    def g_idx(self, k, order):
        # Modules with the same input share one order; those of earlier layers are no longer needed.
        key = k, order if self.args.act_order else 0
        if key not in self.orders:
            groups = [i // self.args.group for i in range(k)]
            if self.args.act_order:
                random.Random(str(key)).shuffle(groups)
                self.orders = {old: v for old, v in self.orders.items() if old[1] == order}
            self.orders[key] = array.array("i", groups).tobytes()
        return self.orders[key]

    def fill(self, f, n, shape, kind):
        if kind[0] == "g_idx":
            f.write(self.g_idx(shape[0], kind[1]))
        elif kind[0] == "bytes":
            f.write(kind[1])
        elif self.args.sparse:
            f.seek(n, os.SEEK_CUR)
        else:
            if kind not in self.sources:
                self.sources[kind] = Source(kind)
                if kind == "zeros" and not self.args.asym:
                    # 8 is stored as 7; for other widths this is merely some zero.
                    self.sources[kind].block = memoryview(b"\x77" * (2 * BLOCK))
            self.sources[kind].write(f, n)

    def write_file(self, path, tensors):
        header, at = {"__metadata__": {"format": "pt"}}, 0
        for name, dtype, shape, n, _ in tensors:
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n]}
            at += n
        text = json.dumps(header, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)
        with open(path, "wb", buffering=1 << 20) as f:
            f.write(struct.pack("<Q", len(text)) + text)
            for _, _, shape, n, kind in tensors:
                self.fill(f, n, shape, kind)
            f.truncate(8 + len(text) + at)

    def write(self, config):
        path, shards, size = self.args.dir, [[]], 0
        for t in self.tensors:
            if size and size + t[3] > SHARD:
                shards.append([])
                size = 0
            shards[-1].append(t)
            size += t[3]
        names = [f"model-{i + 1:05}-of-{len(shards):05}.safetensors" for i in range(len(shards))]
        if len(shards) == 1:
            names = ["model.safetensors"]
        for name, tensors in zip(names, shards):
            self.write_file(os.path.join(path, name), tensors)
        if len(shards) > 1:
            index = {
                "metadata": {"total_size": sum(t[3] for t in self.tensors)},
                "weight_map": {t[0]: name for name, tensors in zip(names, shards) for t in tensors},
            }
            write_json(os.path.join(path, "model.safetensors.index.json"), index)
        quant = {
            "bits": self.args.bits,
            "group_size": self.args.group,
            "desc_act": self.args.act_order,
            "sym": not self.args.asym and not self.args.sparse,
            "lm_head": False,
            "quant_method": "gptq",
            "checkpoint_format": "gptq",
            "pack_dtype": "int32",
        }
        if self.args.family == "gptq":
            write_json(os.path.join(path, "quantize_config.json"), quant)
        elif self.args.family == "gpt-oss":
            quant = {"quant_method": "mxfp4"}
        else:
            quant, more = FAMILIES[self.args.family][1:]
            config.update(more)
        if quant:
            config["quantization_config"] = quant
        write_json(os.path.join(path, "config.json"), config)


def write_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f, indent=2)


def attention(w, p, a, order):
    w.weight(p + "input_layernorm.weight", [a.hidden])
    w.weight(p + "post_attention_layernorm.weight", [a.hidden])
    for name, n in ("q_proj", a.hidden), ("k_proj", a.kv), ("v_proj", a.kv):
        w.module(p + "self_attn." + name, a.hidden, n, order)
    w.module(p + "self_attn.o_proj", a.hidden, a.hidden, order + 1)


def mlp(w, p, hidden, inter, order):
    w.module(p + "gate_proj", hidden, inter, order)
    w.module(p + "up_proj", hidden, inter, order)
    w.module(p + "down_proj", inter, hidden, order + 1)


def llama(w, a):
    layer = 2 * (2 * a.hidden * a.hidden + 2 * a.hidden * a.kv + 3 * a.hidden * a.inter)
    if not a.layers:
        a.layers = max(1, round((a.view_gb * 1e9 - 4 * a.hidden * a.vocab) / layer))
    w.weight("lm_head.weight", [a.vocab, a.hidden])
    w.weight("model.embed_tokens.weight", [a.vocab, a.hidden])
    w.weight("model.norm.weight", [a.hidden])
    for i in range(a.layers):
        p = f"model.layers.{i}."
        attention(w, p, a, 4 * i)
        mlp(w, p + "mlp.", a.hidden, a.inter, 4 * i + 2)
    return "LlamaForCausalLM"


def moe(w, a):
    a.hidden, a.inter, a.kv, experts = 2048, 768, 512, 128
    a.layers = max(1, round(a.tensors / (4 * (3 * experts + 4) + 3)))
    w.weight("lm_head.weight", [a.vocab, a.hidden])
    w.weight("model.embed_tokens.weight", [a.vocab, a.hidden])
    w.weight("model.norm.weight", [a.hidden])
    for i in range(a.layers):
        p = f"model.layers.{i}."
        attention(w, p, a, 4 * i)
        w.weight(p + "mlp.gate.weight", [experts, a.hidden])
        for e in range(experts):
            mlp(w, p + f"mlp.experts.{e}.", a.hidden, a.inter, 4 * i + 2)
    return "Qwen3MoeForCausalLM"


def gpt_oss(w, a):
    a.hidden = a.inter = 2880
    a.kv, a.vocab, a.family, experts = 512, 32000, "gpt-oss", 32
    layer = 2 * experts * 3 * a.hidden * a.inter
    a.layers = a.layers or max(1, round((a.view_gb * 1e9 - 4 * a.hidden * a.vocab) / layer))
    w.weight("lm_head.weight", [a.vocab, a.hidden])
    w.weight("model.embed_tokens.weight", [a.vocab, a.hidden])
    w.weight("model.norm.weight", [a.hidden])
    for i in range(a.layers):
        p = f"model.layers.{i}."
        for name, k, n in ("gate_up_proj", a.hidden, 2 * a.inter), ("down_proj", a.inter, a.hidden):
            w.add(f"{p}mlp.experts.{name}_blocks", "U8", [experts, n, k // 32, 16], "codes")
            w.add(f"{p}mlp.experts.{name}_scales", "U8", [experts, n, k // 32], "e8m0")
            w.weight(f"{p}mlp.experts.{name}_bias", [experts, n])
        w.weight(p + "mlp.router.weight", [experts, a.hidden])
        for name, n, k in ("q_proj", 4096, a.hidden), ("k_proj", a.kv, a.hidden), ("v_proj", a.kv, a.hidden), (
                "o_proj", a.hidden, 4096):
            w.weight(f"{p}self_attn.{name}.weight", [n, k])
    return "GptOssForCausalLM"


def deepseek(w, a):
    a.hidden, a.inter, a.vocab, a.family, a.sparse = 7168, 18432, 129280, "fp8", True
    a.layers = a.layers or 61
    w.weight("lm_head.weight", [a.vocab, a.hidden])
    w.weight("model.embed_tokens.weight", [a.vocab, a.hidden])
    w.weight("model.norm.weight", [a.hidden])
    for i in range(a.layers):
        p = f"model.layers.{i}."
        w.weight(p + "input_layernorm.weight", [a.hidden])
        w.weight(p + "post_attention_layernorm.weight", [a.hidden])
        for name, k, n in ("q_a_proj", a.hidden, 1536), ("q_b_proj", 1536, 24576), (
                "kv_a_proj_with_mqa", a.hidden, 576), ("kv_b_proj", 512, 32768), ("o_proj", 16384, a.hidden):
            w.module(f"{p}self_attn.{name}", k, n, 0)
        if i < 3:
            mlp(w, p + "mlp.", a.hidden, a.inter, 0)
            continue
        w.weight(p + "mlp.gate.weight", [256, a.hidden])
        w.add(p + "mlp.gate.e_score_correction_bias", "F32", [256], "f32")
        mlp(w, p + "mlp.shared_experts.", a.hidden, 2048, 0)
        for e in range(256):
            mlp(w, f"{p}mlp.experts.{e}.", a.hidden, 2048, 0)
    return "DeepseekV3ForCausalLM"


def flat(w, a):
    """Rows of constant length, so that only the number of tensors differs."""
    k = 1024
    n = max(16, int(a.view_gb * 1e9 / 2 / k / a.tensors) // 16 * 16)
    for i in range(a.tensors):
        w.module(f"model.layers.{i}.mlp.up_proj", k, n, i)
    return "LlamaForCausalLM"


SHAPES = {"llama": llama, "moe": moe, "flat": flat, "gpt-oss": gpt_oss, "deepseek": deepseek}
MODEL_TYPES = {"moe": "qwen3_moe", "gpt-oss": "gpt_oss", "deepseek": "deepseek_v3"}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("shape", choices=list(SHAPES))
    p.add_argument("dir", nargs="?")
    p.add_argument("--view-gb", type=float, default=0)
    p.add_argument("--layers", type=int, default=0)
    p.add_argument("--tensors", type=int, default=0)
    p.add_argument("--hidden", type=int, default=4096)
    p.add_argument("--inter", type=int, default=11008)
    p.add_argument("--kv", type=int, default=0, help="width of k and v (hidden)")
    p.add_argument("--vocab", type=int, default=32000)
    p.add_argument("--bits", type=int, default=4, choices=[2, 4, 8])
    p.add_argument("--group", type=int, default=128)
    p.add_argument("--act-order", action="store_true")
    p.add_argument("--asym", action="store_true")
    p.add_argument("--family", default="gptq", choices=["gptq", *FAMILIES])
    p.add_argument("--sparse", action="store_true")
    a = p.parse_intermixed_args()
    a.kv = a.kv or a.hidden
    a.view_gb = a.view_gb or (1 if a.shape == "flat" else 3)
    a.tensors = a.tensors or (100000 if a.shape == "moe" else 100)
    if a.shape == "moe":
        a.sparse = True
    if not a.dir:
        a.dir = tempfile.mkdtemp(prefix="gptqfs-model-")
    os.makedirs(a.dir, exist_ok=True)
    if os.path.exists(os.path.join(a.dir, "config.json")):
        sys.exit(f"make_model.py: {a.dir} holds a model already; remove it or name another directory")
    w = Writer(a)
    architecture = SHAPES[a.shape](w, a)
    w.write({
        "architectures": [architecture],
        "model_type": MODEL_TYPES.get(a.shape, "llama"),
        "hidden_size": a.hidden,
        "intermediate_size": a.inter,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.hidden // 64,
        "num_key_value_heads": a.kv // 64,
        "vocab_size": a.vocab,
        "torch_dtype": "float16",
    })
    # All that gguf/ asks for; tokens without a text get one there.
    write_json(os.path.join(a.dir, "tokenizer.json"), {
        "model": {"type": "BPE", "byte_fallback": True, "vocab": {"<unk>": 0}, "merges": []},
    })
    print(a.dir)


if __name__ == "__main__":
    main()
