#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares every tensor of dense views with their expected SHA-256.

    compare.py [--fused] VIEW_DIR EXPECTED.json [VIEW_DIR EXPECTED.json]...

Reads the shards like any reader of safetensors (header, then each tensor's bytes) and also checks the container: data
on a 4096-byte boundary, offsets without gaps, index and shards consistent. --fused: q, k, v and gate, up are joined in
the view if they have equally many columns, but not in EXPECTED; the rows of each part are compared.
"""
import contextlib
import hashlib
import json
import os
import struct
import sys


def read_header(path):
    with open(path, "rb") as f:
        length = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(length))
    meta = header.pop("__metadata__")
    assert meta == {"format": "pt"}, f"{path}: metadata {meta}"
    assert (8 + length) % 4096 == 0, f"{path}: data begins at {8 + length}"
    end = 0
    for name, entry in header.items():
        begin, stop = entry["data_offsets"]
        assert begin == end, f"{path}: {name} begins at {begin}, expected {end}"
        end = stop
    assert os.path.getsize(path) == 8 + length + end, f"{path}: size"
    return 8 + length, header


def shards(view):
    stem = "model"
    with contextlib.suppress(OSError), open(os.path.join(view, "config.json")) as f:
        stem = "diffusion_pytorch_model" if "_class_name" in json.load(f) else "model"
    index = os.path.join(view, stem + ".safetensors.index.json")
    single = os.path.join(view, stem + ".safetensors")
    assert os.path.exists(index) != os.path.exists(single), f"{view}: one set of weights, please"
    if os.path.exists(single):
        return [single], None
    with open(index) as f:
        weight_map = json.load(f)["weight_map"]
    return [os.path.join(view, s) for s in sorted(set(weight_map.values()))], weight_map


FUSED = {".self_attn.qkv_proj": (".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"),
         ".mlp.gate_up_proj": (".mlp.gate_proj", ".mlp.up_proj")}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def entry_of(dtype, shape, data):
    return {"dtype": dtype, "shape": shape, "sha256": [sha256(data)]}


def join(expected):
    """The expected hashes of a fused view: for a joined tensor, those of its parts in order."""
    out = {name: {**entry, "sha256": [entry["sha256"]]} for name, entry in expected.items()}
    for joined, parts in FUSED.items():
        firsts = [n[:-len(parts[0] + ".weight")] for n in expected if n.endswith(parts[0] + ".weight")]
        for prefix in firsts:
            weights = [expected.get(prefix + part + ".weight") for part in parts]
            if None in weights or len({tuple(w["shape"][1:]) for w in weights}) > 1:
                continue
            biases = [expected.get(prefix + part + ".bias") for part in parts]
            for kind, entries in (".weight", weights), (".bias", biases if any(biases) else []):
                if not entries:
                    continue
                size = {"F16": 2, "BF16": 2, "F32": 4}[weights[0]["dtype"]]
                # A part without a bias counts as zeros.
                hashes = [e["sha256"] if e else sha256(bytes(size * w["shape"][0])) for e, w in zip(entries, weights)]
                rows = [w["shape"][0] for w in weights]
                out[prefix + joined + kind] = {"dtype": weights[0]["dtype"], "sha256": hashes, "rows": rows,
                                               "shape": [sum(rows)] + (weights[0]["shape"][1:] if kind == ".weight" else [])}
                for part in parts:
                    out.pop(prefix + part + kind, None)
    return out


def digest(entry, expected, data):
    """The tensor as `expected` describes it; its data cut at the rows of its parts if it is a joined one."""
    found = entry_of(entry["dtype"], entry["shape"], data)
    if expected and "rows" in expected:
        row = len(data) // max(entry["shape"][0], 1)
        ends = [sum(expected["rows"][:i + 1]) for i in range(len(expected["rows"]))]
        found["sha256"] = [sha256(data[row * (end - n):row * end]) for end, n in zip(ends, expected["rows"])]
        found["rows"] = expected["rows"]
    return found


def compare(view, expected_path, fused):
    """Prints the differences and returns their number."""
    with open(expected_path) as f:
        expected = json.load(f)
    expected = join(expected) if fused else {n: {**e, "sha256": [e["sha256"]]} for n, e in expected.items()}
    files, weight_map = shards(view)
    seen = {}
    bad = 0
    for path in files:
        start, header = read_header(path)
        with open(path, "rb") as f:
            for name, entry in header.items():
                begin, stop = entry["data_offsets"]
                f.seek(start + begin)
                seen[name] = digest(entry, expected.get(name), f.read(stop - begin))
                if weight_map is not None:
                    assert weight_map[name] == os.path.basename(path), name
    for name in sorted(set(expected) | set(seen)):
        if seen.get(name) != expected.get(name):
            bad += 1
            print(f"{view}: {name}: expected {expected.get(name)}, found {seen.get(name)}")
    if list(seen) != sorted(seen, key=lambda n: n.encode()):
        bad += 1
        print(f"{view}: tensors are not in bytewise order of names")
    return bad


def main():
    args = sys.argv[1:]
    fused = args[:1] == ["--fused"]
    args = args[fused:]
    if len(args) < 2 or len(args) % 2:
        print(__doc__, file=sys.stderr)
        return 2
    return 1 if sum([compare(*pair, fused) for pair in zip(args[::2], args[1::2])]) else 0


if __name__ == "__main__":
    sys.exit(main())
