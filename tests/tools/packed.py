#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks a packed view: GPTQ with joined modules.

    packed.py decode VIEW_DIR EXPECTED     every weight, decoded by what the view's own configuration says, has the
                                           hash that EXPECTED.F16.json gives for it, or for the parts it is joined from
    packed.py names VIEW_DIR               readers find by name what is quantized, and how: see names()

Decodes by itself, from the description of the format.
"""
import json
import os
import re
import struct
import sys

import compare

PARTS = {"qkv_proj": ["q_proj", "k_proj", "v_proj"], "gate_up_proj": ["gate_proj", "up_proj"]}
PLANES = {3: (2, 1), 5: (4, 1), 6: (4, 2), 7: (4, 2, 1)}


class View:
    """Tensors of all shards, and the configuration."""

    def __init__(self, path):
        self.data = {}
        self.info = {}
        for shard in compare.shards(path)[0]:
            start, header = compare.read_header(shard)
            with open(shard, "rb") as f:
                for name, entry in header.items():
                    size = 4 if entry["dtype"] in ("I32", "F32") else 2
                    assert entry["dtype"] not in ("I32", "F32", "F16", "BF16") or \
                        (start + entry["data_offsets"][0]) % size == 0, f"{name} is not aligned"
                    f.seek(start + entry["data_offsets"][0])
                    self.data[name] = f.read(entry["data_offsets"][1] - entry["data_offsets"][0])
                    self.info[name] = entry
        with open(os.path.join(path, "quantize_config.json")) as f:
            self.config = json.load(f)
        config = os.path.join(path, "config.json")
        if os.path.exists(config):
            with open(config) as f:
                text = json.load(f)
            inside = [c["quantization_config"] for c in (text, text.get("text_config", {})) if "quantization_config" in c]
            assert inside and all(c == self.config for c in inside), "config.json says something else"

    def modules(self):
        return [name[:-len(".qweight")] for name in self.info if name.endswith(".qweight")]

    def plain_matrices(self):
        """Weights that are not quantized, and could be."""
        return [name[:-len(".weight")] for name, e in self.info.items()
                if name.endswith(".weight") and len(e["shape"]) == 2 and e["dtype"] in ("F16", "BF16", "F32", "F64")]

    def shape(self, name):
        return self.info[name]["shape"] if name in self.info else None

    def override(self, name):
        """What `dynamic` says of a module: False for not quantized."""
        for pattern, values in self.config.get("dynamic", {}).items():
            if re.match(pattern[2:], name):
                return False if pattern.startswith("-:") else values
        return {}

    def said(self, name, key):
        return {**self.config, **self.override(name)}[key]


# ---- decoding ----

def fields(words, count, bits, planar, shift):
    """The codes in a run of 32-bit words. shift: v1 zeros, which lack a 1."""
    power = bits in (2, 4, 8)
    if shift and power:
        one = sum(1 << i for i in range(0, 32, bits))
        words = [(w + one) & 0xFFFFFFFF for w in words]
    out = []
    mask = (1 << bits) - 1
    for at in range(0, len(words), bits):
        block = words[at:at + bits]
        if planar and not power:
            values, low, first = [0] * 32, 0, 0
            for width in PLANES[bits]:
                for i in range(32):
                    word, j = divmod(i * width, 32)
                    values[i] |= (block[first + word] >> j & ((1 << width) - 1)) << low
                low += width
                first += width
            out += values
        else:
            stream = sum(w << (32 * i) for i, w in enumerate(block))
            out += [stream >> (bits * i) & mask for i in range(32)]
    return [(v + 1) & mask if shift and not power else v for v in out[:count]]


def scale_values(view, name):
    dtype, raw = view.info[name]["dtype"], view.data[name]
    if dtype == "BF16":
        return [struct.unpack("<f", b"\0\0" + raw[i:i + 2])[0] for i in range(0, len(raw), 2)]
    return struct.unpack(f"<{len(raw) // (4 if dtype == 'F32' else 2)}{'f' if dtype == 'F32' else 'e'}", raw)


def half(x):
    try:
        return struct.pack("<e", x)
    except OverflowError:
        return struct.pack("<H", 0xfc00 if x < 0 else 0x7c00)


def decode_module(view, m):
    """The weight in fp16, and its number of rows."""
    bits = view.said(m, "bits")
    assert view.said(m, "pack_dtype") == "int32" and view.info[m + ".qweight"]["dtype"] == "I32"
    form = view.config["checkpoint_format"]
    planar = bits in (5, 6, 7) or (bits == 3 and form == "gptq_p")
    (rows, n), (groups, columns) = view.shape(m + ".qweight"), view.shape(m + ".qzeros")
    k = view.shape(m + ".g_idx")[0] if m + ".g_idx" in view.info else rows * 32 // bits
    assert rows == -(-k * bits // 32) and columns == -(-n * bits // 32), f"{m}: {bits} bits"
    assert view.shape(m + ".scales") == [groups, n]
    size = view.said(m, "group_size")
    assert -(-k // (size if size > 0 else k)) == groups, f"{m}: group_size {size}, {groups} groups of {k}"
    if m + ".g_idx" in view.info:
        group = struct.unpack(f"<{k}I", view.data[m + ".g_idx"])
        assert view.said(m, "desc_act") or list(group) == [i // (size if size > 0 else k) for i in range(k)], m
    else:
        group = [i // (size if size > 0 else k) for i in range(k)]
    words = struct.unpack(f"<{rows * n}I", view.data[m + ".qweight"])
    packed = struct.unpack(f"<{groups * columns}I", view.data[m + ".qzeros"])
    zeros = [fields(packed[g * columns:(g + 1) * columns], n, bits, planar, form == "gptq" and not planar)
             for g in range(groups)]
    if view.said(m, "sym"):
        assert all(z == 1 << (bits - 1) for row in zeros for z in row), f"{m}: sym"
    scales = scale_values(view, m + ".scales")
    known, out = {}, []
    for j in range(n):
        codes = fields(words[j::n], k, bits, planar, False)
        for i in range(k):
            g = group[i]
            key = (scales[g * n + j], codes[i] - zeros[g][j])
            if key not in known:
                # The fp32 product is exact, or rounded as fp32 rounds.
                known[key] = half(struct.unpack("<f", struct.pack("<f", key[0] * key[1]))[0])
            out.append(known[key])
    return b"".join(out), n, k


def check_hash(name, found, entry):
    assert entry, f"{name} is not expected"
    entry = {**entry, "sha256": entry["sha256"] if isinstance(entry["sha256"], list) else [entry["sha256"]]}
    got = compare.digest({"dtype": entry["dtype"], "shape": entry["shape"]}, entry, found)
    assert got["sha256"] == entry["sha256"], f"{name}: other bytes"


def decode(path, base):
    view = View(path)
    expected, joined = {}, {}
    for dtype in ("F16", "BF16", "F32"):
        with open(f"{base}.{dtype}.json") as f:
            expected[dtype] = json.load(f)
        joined[dtype] = compare.join(expected[dtype])
    seen = set()

    def entry(dtype, name):
        if name in expected[dtype]:
            seen.add(name)
            return expected[dtype][name]
        # Of what is joined there, each part is seen.
        stem = re.match(r"(.*\.)(qkv_proj|gate_up_proj)(\.weight|\.bias)$", name)
        assert stem, f"{name} is not expected"
        seen.update(stem[1] + p + stem[3] for p in PARTS[stem[2]])
        return joined[dtype].get(name)

    for m in view.modules():
        data, n, k = decode_module(view, m)
        want = entry("F16", m + ".weight")
        if want["shape"] == [k, n] != [n, k]:
            data = b"".join(data[2 * (j * k + i):2 * (j * k + i) + 2] for i in range(k) for j in range(n))
        check_hash(m, data, want)
    parts = tuple(m + s for m in view.modules() for s in (".qweight", ".qzeros", ".scales", ".g_idx"))
    for name in sorted(set(view.info) - set(parts)):
        dtype = view.info[name]["dtype"]
        check_hash(name, view.data[name], entry(dtype if dtype in expected else "F16", name))
    left = set(expected["F16"]) - seen
    assert not left, f"not in the view: {left}"


# ---- names ----

def names(path):
    """What readers go by, each in its own way:

    A quantized module has qweight, qzeros and scales, perhaps g_idx and bias, and no weight.

    transformers, through optimum, makes a quantized layer of every linear layer whose name ends in one of the names in
    modules_in_block_to_quantize, a list of lists.

    vLLM makes qkv_proj and gate_up_proj whatever the checkpoint has. Is such a layer quantized? If `dynamic` does not
    say no: yes if of each part's name (q_proj, ...; for Phi-3, which has no parts, of its own) a piece is in the
    flattened list, no if of none, and it refuses anything between. How it is quantized, `dynamic` says for the layer's
    own name; newer ones ask for the parts' where there is nothing.
    """
    view = View(path)
    modules, plain = set(view.modules()), set(view.plain_matrices())
    lists = view.config["modules_in_block_to_quantize"]
    assert isinstance(lists, list) and all(isinstance(x, list) for x in lists)
    listed = sum(lists, [])
    assert len(set(listed)) == len(listed)

    for m in modules:
        assert m + ".weight" not in view.info and m + ".scales" in view.info and m + ".qzeros" in view.info, m
        assert not view.override(m) is False, m
    for name in view.info:
        assert not re.search(r"\.(qzeros|g_idx)$", name) or name.rsplit(".", 1)[0] in modules, name
    # transformers: those and no others.
    replaced = {m for m in modules | plain if any(m.endswith(x) for x in listed)}
    assert replaced == modules, replaced ^ modules
    # No pattern fits more than one name, nor one that is not there.
    for pattern in view.config.get("dynamic", {}):
        assert re.match(r"[-+]:\^.*\$$", pattern), pattern
        hits = {m for m in modules | plain if re.match(pattern[2:], m)}
        assert len(hits) == 1 and hits <= (plain if pattern.startswith("-:") else modules), (pattern, hits)
    assert all(view.override(m) is False for m in plain)

    def is_listed(name):
        return any(x in name for x in listed)

    for m in modules | plain:
        stem, _, last = m.rpartition(".")
        for shards in [[last]] + ([PARTS[last]] if last in PARTS else []):
            found = {is_listed(f"{stem}.{part}") for part in shards}
            assert view.override(m) is False or found == {True}, (m, shards)
            assert (m in modules) == (view.override(m) is not False and True in found), m
    assert view.config["lm_head"] == ("lm_head" in modules)
    assert view.config["quant_method"] == "gptq" and view.config["format"] == view.config["checkpoint_format"]


def main():
    if len(sys.argv) == 4 and sys.argv[1] == "decode":
        decode(sys.argv[2], sys.argv[3])
    elif len(sys.argv) == 3 and sys.argv[1] == "names":
        names(sys.argv[2])
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
