#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Compares every tensor of dense views with their expected SHA-256.

    compare.py VIEW_DIR EXPECTED.json [VIEW_DIR EXPECTED.json]...

Reads the shards as any reader of safetensors does (header, then each tensor's bytes) and checks the container on the
way: data on a 4096-byte boundary, offsets without gap, index and shards in agreement.
"""
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
    index = os.path.join(view, "model.safetensors.index.json")
    single = os.path.join(view, "model.safetensors")
    assert os.path.exists(index) != os.path.exists(single), f"{view}: one set of weights, please"
    if os.path.exists(single):
        return [single], None
    with open(index) as f:
        weight_map = json.load(f)["weight_map"]
    return [os.path.join(view, s) for s in sorted(set(weight_map.values()))], weight_map


def compare(view, expected_path):
    """The number of differences, each of which is printed."""
    with open(expected_path) as f:
        expected = json.load(f)
    files, weight_map = shards(view)
    seen = {}
    bad = 0
    for path in files:
        start, header = read_header(path)
        with open(path, "rb") as f:
            for name, entry in header.items():
                begin, stop = entry["data_offsets"]
                f.seek(start + begin)
                digest = hashlib.sha256(f.read(stop - begin)).hexdigest()
                seen[name] = {"dtype": entry["dtype"], "shape": entry["shape"], "sha256": digest}
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
    if len(sys.argv) < 3 or len(sys.argv) % 2 == 0:
        print(__doc__, file=sys.stderr)
        return 2
    return 1 if sum([compare(*pair) for pair in zip(sys.argv[1::2], sys.argv[2::2])]) else 0


if __name__ == "__main__":
    sys.exit(main())
