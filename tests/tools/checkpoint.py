# SPDX-License-Identifier: MIT
"""A checkpoint in memory, and writing it: the basis of the kinds of make_checkpoint.py."""
import hashlib
import json
import os
import random
import struct

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
    """A stream of codes, lowest bits first, as 32-bit words."""
    stream = 0
    for i, value in enumerate(values):
        stream |= value << (bits * i)
    return [stream >> (32 * w) & 0xFFFFFFFF for w in range((len(values) * bits + 31) // 32)]


def words(rows):
    return b"".join(struct.pack(f"<{len(row)}I", *row) for row in rows)


# ---- a checkpoint in memory ----

class Model:
    """Stored tensors, and the dense values they encode."""

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
        """All byte values, as far as there is room."""
        raw = bytes(range(256))[:shape[0] * shape[1]]
        self.stored[name] = [dtype, shape, raw]
        self.dense[name] = (shape, [decode_f8(byte, dtype) for byte in raw])

    def module(self, name, k, n, act=False, scale="F16", g_idx=True, qzeros=True, bias=False, bits=None,
               subtract=None, transposed=False, zero=None):
        """A quantized Linear of k inputs and n outputs.

        act: groups are scattered; a list of them is taken as it is. Returns the list.
        subtract: what a faulty writer took from the words 0, 1, 2, 0, ... of a row of zeros, instead of one per field.
        transposed: the class keeps the weight as [k, n].
        zero: every zero.
        """
        bits, rnd = bits or self.quant["bits"], self.random
        size = self.quant["group_size"] if self.quant["group_size"] > 0 else k
        groups = (k + size - 1) // size
        group = [i // size for i in range(k)]
        if act is True:
            rnd.shuffle(group)
        elif act:
            group = act
        values = range(1 << bits)
        codes = [rnd.choices(values, k=n) for _ in range(k)]
        if zero is None and self.quant["sym"]:
            zero = 1 << (bits - 1)
        zeros = [[zero] * n if zero is not None else rnd.choices(values, k=n) for _ in range(groups)]
        # Some scales are negative: a product of zero is then -0.0.
        scales = [[encode(rnd.uniform(-0.02, 0.02), scale) for _ in range(n)] for _ in range(groups)]
        columns = [pack([codes[i][j] for i in range(k)], bits) for j in range(n)]
        self.stored[name + ".qweight"] = ["I32", [len(columns[0]), n], words(zip(*columns))]
        if qzeros:
            # One less in every field of 3 bits; see below for others.
            less = bits == 3 and subtract is None and self.quant["checkpoint_format"] == "gptq"
            packed = [pack([(z - 1) & 7 for z in row] if less else row, bits) for row in zeros]
            if subtract is not None:
                packed = [[(word - subtract[i % 3]) & 0xFFFFFFFF for i, word in enumerate(row)] for row in packed]
            elif self.quant["checkpoint_format"] == "gptq" and bits != 3:
                # One less in every field, by one subtraction from the word, with borrows.
                one = pack([1] * (32 // bits), bits)[0]
                packed = [[(word - one) & 0xFFFFFFFF for word in row] for row in packed]
            self.stored[name + ".qzeros"] = ["I32", [groups, len(packed[0])], words(packed)]
        self.stored[name + ".scales"] = [scale, [groups, n], b"".join(b"".join(row) for row in scales)]
        if g_idx:
            self.stored[name + ".g_idx"] = ["I32", [k], words([group])]
        def value(i, j):
            return f32(decode(scales[group[i]][j], scale) * (codes[i][j] - zeros[group[i]][j]))
        if transposed:
            self.dense[name + ".weight"] = ([k, n], [value(i, j) for i in range(k) for j in range(n)])
        else:
            self.dense[name + ".weight"] = ([n, k], [value(i, j) for j in range(n) for i in range(k)])
        if bias:
            self.plain(name + ".bias", [n])
        return group

    def usual(self, layers=1, head=True, dtype="F16", **options):
        """The tensors of a tiny Llama."""
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
        """place(i, name) is the shard of the i-th tensor by name. Parts of a module are in different shards."""
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


def read_safetensors(path):
    """Of each tensor by name its type, shape and bytes."""
    with open(path, "rb") as f:
        header, data = json.loads(f.read(struct.unpack("<Q", f.read(8))[0])), f.read()
    header.pop("__metadata__", None)
    return {n: (t["dtype"], t["shape"], data[slice(*t["data_offsets"])]) for n, t in header.items()}


def write_safetensors(path, tensors, edit=None):
    """edit(header) may modify the header before it is written, or return other bytes."""
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


# Good ones: tensors.
