# SPDX-License-Identifier: MIT
"""Reads GGUF files. As a program it compares one with what is expected of it, key by key, or with the fp32 view of its
model, number by number: gguf.py FILE EXPECTED.json, gguf.py FILE MODEL.safetensors."""

import hashlib
import json
import struct
import sys

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
NAMES = {4: "u32", 5: "i32", 6: "f32", 7: "bool", 8: "str", 9: "arr"}
# Number, name, weights of a block, bytes of it.
TYPES = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    6: ("Q5_0", 32, 22),
    8: ("Q8_0", 32, 34),
    30: ("BF16", 1, 2),
    42: ("Q2_0", 64, 18),
}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, count):
        piece = self.data[self.at : self.at + count]
        if len(piece) != count:
            raise ValueError("the file ends too early")
        self.at += count
        return piece

    def number(self, form):
        return struct.unpack("<" + form, self.take(struct.calcsize("<" + form)))[0]

    def string(self):
        return self.take(self.number("Q")).decode()

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind != 9:
            return self.number(SCALARS[kind])
        of, count = self.number("I"), self.number("Q")
        begin = self.at
        elements = [self.value(of) for _ in range(count)]
        return {
            "type": "arr",
            "of": NAMES[of],
            "count": count,
            "sha256": hashlib.sha256(self.data[begin : self.at]).hexdigest(),
            "first": elements[:4],
            "all": elements,
        }


def read(path):
    """The parts of a file: keys and values in order, tensors in order, and all bytes."""
    with open(path, "rb") as f:
        data = f.read()
    r = Reader(data)
    if r.take(4) != b"GGUF" or r.number("I") != 3:
        raise ValueError("not GGUF 3")
    tensor_count, key_count = r.number("Q"), r.number("Q")
    keys = {}
    for _ in range(key_count):
        name, kind = r.string(), r.number("I")
        if name in keys:
            raise ValueError(f"{name} is there twice")
        value = r.value(kind)
        keys[name] = value if kind == 9 else {"type": NAMES[kind], "value": value}
    tensors = []
    for _ in range(tensor_count):
        name = r.string()
        shape = [r.number("Q") for _ in range(r.number("I"))]
        kind, weights, size = TYPES[r.number("I")]
        count = 1
        for n in shape:
            count *= n
        tensors.append(
            {"name": name, "type": kind, "ne": shape, "offset": r.number("Q"), "bytes": count // weights * size}
        )
    begin = (r.at + 31) // 32 * 32
    end = begin
    for t in tensors:
        if begin + t["offset"] != end:
            raise ValueError(f"{t['name']} does not follow the tensor before it")
        t["at"] = end
        end += (t["bytes"] + 31) // 32 * 32
    if len({t["name"] for t in tensors}) != len(tensors) or end != len(data):
        raise ValueError(f"{len(data)} bytes, expected {end}")
    for t in tensors:
        t["data"] = data[t["at"] : t["at"] + t["bytes"]]
    return {"kv": keys, "tensors": tensors, "data_offset": begin, "data": data}


def compare(file, expected):
    """What differs, a line each."""
    if list(file["kv"]) != list(expected["kv"]):
        yield f"keys {list(file['kv'])}, expected {list(expected['kv'])}"
    for key, value in expected["kv"].items():
        found = dict(file["kv"].get(key, {}))
        found.pop("all", None)
        if found != value:
            yield f"{key}: {found}, expected {value}"
    if [t["name"] for t in file["tensors"]] != [t["name"] for t in expected["tensors"]]:
        yield f"tensors {[t['name'] for t in file['tensors']]}"
    for found, t in zip(file["tensors"], expected["tensors"]):
        for part in ("name", "type", "ne", "offset"):
            if found[part] != t[part]:
                yield f"{t['name']}: {part} {found[part]}, expected {t[part]}"
        if hashlib.sha256(found["data"]).hexdigest() != t["sha256"]:
            yield f"{t['name']}: other data"
    if file["data_offset"] != expected["data_offset"] or len(file["data"]) != expected["size"]:
        yield f"data at {file['data_offset']} of {len(file['data'])} bytes"
    if hashlib.sha256(file["data"]).hexdigest() != expected["sha256"]:
        yield "another SHA-256 of the file"


# ---- the numbers ----


def f16(data):
    return struct.unpack(f"<{len(data) // 2}e", data)


def f32_bits(values):
    """Bits of values that are exact in fp32 but for overflow, which is inf; any NaN is the canonical one."""
    bits = []
    for v in values:
        try:
            b = struct.unpack("<I", struct.pack("<f", v))[0]
        except OverflowError:
            b = 0x7F800000 if v > 0 else 0xFF800000
        bits.append(0x7FC00000 if b & 0x7FFFFFFF > 0x7F800000 else b)
    return bits


def dequantize(kind, data):
    """The fp32 values of a tensor as ggml computes them, as bits."""
    if kind == "F32":
        return f32_bits(struct.unpack(f"<{len(data) // 4}f", data))
    if kind == "F16":
        return f32_bits(f16(data))
    if kind == "BF16":
        return [b << 16 for b in struct.unpack(f"<{len(data) // 2}H", data)]
    size = {name: size for name, _, size in TYPES.values()}[kind]
    out = []
    for at in range(0, len(data), size):
        block = data[at : at + size]
        (d,), rest = f16(block[:2]), block[2:]
        if kind == "Q4_0":
            q = [b % 16 - 8 for b in rest] + [b // 16 - 8 for b in rest]
        elif kind == "Q5_0":
            high, rest = struct.unpack("<I", rest[:4])[0], rest[4:]
            low = [b % 16 for b in rest] + [b // 16 for b in rest]
            q = [n + (high >> i & 1) * 16 - 16 for i, n in enumerate(low)]
        elif kind == "Q8_0":
            q = struct.unpack("<32b", rest)
        else:
            q = [(b >> shift & 3) - 1 for b in rest for shift in (0, 2, 4, 6)]
        out += [d * n for n in q]
    return f32_bits(out)


def safetensors(path):
    """Tensors of a dense file by name: shape and fp32 bits."""
    with open(path, "rb") as f:
        data = f.read()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    tensors = {}
    for name, t in header.items():
        begin, end = (8 + size + n for n in t["data_offsets"])
        tensors[name] = t["shape"], dequantize(t["dtype"], data[begin:end])
    return tensors


LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_qkv": "self_attn.qkv_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "ffn_gate_inp": "mlp.gate",
    "ffn_gate_exps": "mlp.experts.{}.gate_proj",
    "ffn_up_exps": "mlp.experts.{}.up_proj",
    "ffn_down_exps": "mlp.experts.{}.down_proj",
}


def source_of(name, shape, dense, heads):
    """The bits of a tensor of the dense model in the order of the file."""
    single = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
    module, suffix = name.rsplit(".", 1)
    if module in single:
        return dense[f"{single[module]}.{suffix}"][1]
    layer, module = module.removeprefix("blk.").split(".")
    before = f"model.layers.{layer}."
    if module.endswith("_exps"):
        return [b for j in range(shape[2]) for b in dense[before + LAYER[module].format(j) + "." + suffix][1]]
    if module == "ffn_up" and before + "mlp.gate_up_proj.weight" in dense:
        return dense[before + "mlp.gate_up_proj.weight"][1]
    bits = dense[before + LAYER[module] + "." + suffix][1]
    if module not in heads:
        return bits
    # Rows of each head: those of the first half in even places, of the second in odd ones.
    width = shape[0] if suffix == "weight" else 1
    rows = [bits[i : i + width] for i in range(0, len(bits), width)]
    size = len(rows) // heads[module]
    return [b for h in range(heads[module]) for i in range(size // 2) for n in (0, 1)
            for b in rows[h * size + n * size // 2 + i]]


def compare_dense(file, path):
    """What differs from the views: F16 and BF16 are those of the views of that type, all else is fp32's."""
    views = {kind: safetensors(path.replace("/fp32/", f"/{view}/"))
             for kind, view in (("F16", "fp16"), ("BF16", "bf16"), ("F32", "fp32"))}
    dense = views["F32"]
    arch = file["kv"]["general.architecture"]["value"]
    heads = {}
    if arch == "llama":
        heads = {"attn_q": file["kv"]["llama.attention.head_count"]["value"],
                 "attn_k": file["kv"]["llama.attention.head_count_kv"]["value"]}
    elements = 0
    for t in file["tensors"]:
        if t["name"].startswith("rope_"):
            continue
        found, source = dequantize(t["type"], t["data"]), source_of(t["name"], t["ne"], views.get(t["type"], dense), heads)
        if t["type"] == "Q2_0":  # zeros have the other sign where the scale is turned
            found, source = ([b if b != 0x80000000 else 0 for b in x] for x in (found, source))
        elements += len(source)
        if found != source:
            wrong = [i for i, (a, b) in enumerate(zip(found, source)) if a != b]
            yield f"{t['name']} ({t['type']}): {len(wrong)} of {len(source)} values differ, {len(found)} found"
    biases = [n for n, (_, bits) in dense.items() if n.endswith(".bias") and not any(b & 0x7FFFFFFF for b in bits)]
    total = sum(len(bits) for name, (_, bits) in dense.items() if name not in biases)
    if elements != total and arch != "phi3":
        yield f"{elements} values, the model has {total}"


if __name__ == "__main__":
    found = read(sys.argv[1])
    if sys.argv[2].endswith(".safetensors"):
        lines = list(compare_dense(found, sys.argv[2]))
    else:
        with open(sys.argv[2], encoding="utf-8") as f:
            lines = list(compare(found, json.load(f)))
    if lines:
        print("\n".join(lines[:20]))
    sys.exit(bool(lines))
