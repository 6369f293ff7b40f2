#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Checks the view tensors/: exactly the expected files, and every byte of them.

    tensors.py TENSORS_DIR SOURCE_DIR EXPECTED.json [EXPECTED.F32.json]

EXPECTED.json has the tensors in the type of .safetensors; EXPECTED.F32.json those of .npy if they differ (bf16).
The rules for names (core/view/escape.h) and the .npy format are implemented again here, from their descriptions.
"""
import ast
import hashlib
import json
import os
import re
import struct
import sys

from compare import digest, join, read_header

NPY = {"F16": "<f2", "F32": "<f4", "F64": "<f8", "BOOL": "|b1", "U8": "|u1", "I8": "|i1", "U16": "<u2", "I16": "<i2",
       "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8", "C64": "<c8"}
KEYS = ["Tensor", "Bias", "Dtype", "Shape", "Npy", "Npy_transposed", "Stored_bytes", "Dense_bytes"]
MODULE_KEYS = ["Module", "Format", "Bits", "Group_size", "Groups", "Act_order", "Symmetric", "Zeros", "Scale_dtype",
               "Repair", "In_features", "Out_features", "Packed_bytes", "Qweight", "Qzeros", "Scales", "G_idx"]


# ---- names ----

def escape_part(part):
    pieces = [f"%{ord(c):02X}" if c in "%/." or c < " " or c == "\x7f" else c for c in part]
    out, length = [], 0
    for piece in pieces:
        length += len(piece.encode())
        if length > 200:
            digest = hashlib.sha256(part.encode().replace(b"\0", b"\xc0\x80")).hexdigest()
            return "".join(out) + "%" + digest[:32]
        out.append(piece)
    return "".join(out) or "%"


def path_of(name, names):
    """The path of a tensor's files, without suffix."""
    if name.endswith(".weight") and name[:-len(".weight")] not in names:
        name = name[:-len(".weight")]
    parts = name.split(".")
    if len(parts) > 32:
        parts = parts[:31] + [".".join(parts[31:])]
    return "/".join(map(escape_part, parts))


def told(name):
    """A name as shown in texts; an empty one is a dash."""
    raw = name.encode().replace(b"\0", b"\xc0\x80")
    return "".join(chr(c) if 0x20 <= c < 0x7f and c != 0x5c else f"\\{c:03o}" for c in raw) or "-"


# ---- files ----

def read(path):
    with open(path, "rb") as f:
        return f.read()


def read_npy(path):
    data = read(path)
    assert data[:8] == b"\x93NUMPY\1\0", path
    end = 10 + struct.unpack("<H", data[8:10])[0]
    assert end % 64 == 0 and data[end - 1:end] == b"\n", f"{path}: data begins at {end}"
    header = ast.literal_eval(data[10:end].decode("ascii"))
    assert sorted(header) == ["descr", "fortran_order", "shape"], f"{path}: {header}"
    return header, data[end:]


def check_safetensors(path, tensors, expected):
    """It must contain these tensors, in this order."""
    start, header = read_header(path)
    data = read(path)
    assert list(header) == tensors, f"{path}: {list(header)}, expected {tensors}"
    for name in tensors:
        begin, end = header[name]["data_offsets"]
        found = digest(header[name], expected[name], data[start + begin:start + end])
        assert found == expected[name], f"{path}: {name}: {found}, expected {expected[name]}"


def check_npy(base, name, wanted):
    entry = {"dtype": wanted["dtype"], "shape": wanted["shape"]}
    if entry["dtype"] not in NPY:
        return []
    header, data = read_npy(base + ".npy")
    assert header == {"descr": NPY[entry["dtype"]], "fortran_order": False, "shape": tuple(entry["shape"])}, \
        f"{base}.npy: {header}"
    assert digest(entry, wanted, data) == wanted, f"{base}.npy: other bytes"
    if len(entry["shape"]) != 2:
        return [".npy"]
    transposed, same = read_npy(base + ".t.npy")
    assert transposed == {**header, "fortran_order": True, "shape": tuple(entry["shape"][::-1])}, f"{base}.t.npy: {transposed}"
    assert same == data, f"{base}.t.npy: other bytes"
    return [".npy", ".t.npy"]


# ---- NAME.info ----

def stored_tensors(source):
    """Every tensor of the source: (file, offset, bytes, dtype, shape) -> name."""
    out = {}
    for where, _, files in os.walk(source, followlinks=True):
        for file in files:
            path = os.path.join(where, file)
            if not file.endswith(".safetensors"):
                continue
            with open(path, "rb") as f:
                length = struct.unpack("<Q", f.read(8))[0]
                header = json.loads(f.read(length))
            header.pop("__metadata__", None)
            for name, e in header.items():
                begin, end = e["data_offsets"]
                key = os.path.relpath(path, source), 8 + length + begin, end - begin, e["dtype"], str(e["shape"])
                out.setdefault(key, set()).add(name)
    return out


STORED = re.compile(r"(.*), offset (\d+), (\d+) bytes, (\w+) (\[.*\])")


def check_place(path, key, value, module, stored):
    """A line with the location of data must be right."""
    match = STORED.fullmatch(value)
    assert match, f"{path}: {key}: {value}"
    file, offset, size, dtype, shape = match.groups()
    names = stored.get((file, int(offset), int(size), dtype, shape))
    assert names, f"{path}: {key}: {value}: nothing like that in the source"
    if key != "Stored":
        ends = [n[:-len(key) - 1] for n in names if n.endswith("." + key.lower())]
        assert module in map(told, ends), f"{path}: {key}: {names}"


def check_info(path, name, bias, wanted, stored):
    text = read(path)
    assert all(0x20 <= c < 0x7f or c == 10 for c in text) and text.endswith(b"\n"), f"{path}: not plain ASCII"
    summary, *lines = text.decode().splitlines()
    assert summary.startswith((told(name) if name else "") + ": "), f"{path}: {summary}"
    # Values line up in one column.
    pairs = [(line[:20].rstrip().removesuffix(":"), line[20:]) for line in lines]
    keys, values = [k for k, _ in pairs], dict(pairs)
    assert keys[:len(KEYS)] == KEYS, f"{path}: {keys}"
    assert values["Tensor"] == told(name) and values["Shape"] == str(wanted["shape"]), f"{path}: {values}"
    assert values["Bias"] == (told(bias) if bias else "-") and values["Dtype"] == wanted["dtype"], f"{path}: {values}"
    assert (values["Npy"].split()[0] == "-") == (not os.path.exists(path[:-4] + "npy")), f"{path}: {values}"
    assert (values["Npy_transposed"].split()[0] == "-") == (not os.path.exists(path[:-4] + "t.npy")), f"{path}"
    rest, module = pairs[len(KEYS):], None
    while rest:
        key, value = rest[0]
        if key == "Module":
            module = value
            assert [k for k, _ in rest[:len(MODULE_KEYS)]] == MODULE_KEYS, f"{path}: {rest}"
        if key in MODULE_KEYS[-4:] + ["Stored"] and value != "-":
            check_place(path, key, value, module, stored)
        rest = rest[1:]
    return values


# ---- all of it ----

def load(path):
    """All tensors shown: the model's and the joined ones."""
    with open(path) as f:
        expected = json.load(f)
    out = join(expected)
    for name, entry in expected.items():
        out.setdefault(name, {**entry, "sha256": [entry["sha256"]]})
    return out


def files_below(root):
    for where, _, files in os.walk(os.fsencode(root)):
        for file in files:
            yield os.path.relpath(os.path.join(where, file), os.fsencode(root)).decode()


def main():
    root, source, *expected = sys.argv[1:]
    expected, npy = load(expected[0]), load(expected[-1])
    stored = stored_tensors(source)
    files = set()
    for name, wanted in expected.items():
        path = path_of(name, expected)
        base = f"{root}/{path}"
        bias = name[:-len("weight")] + "bias" if name.endswith(".weight") else None
        bias = bias if bias in expected else None
        check_safetensors(base + ".safetensors", [name] + [bias] * bool(bias), expected)
        suffixes = [".safetensors", ".info"] + check_npy(base, name, npy[name])
        check_info(base + ".info", name, bias, wanted, stored)
        before = len(files)
        files.update(path + suffix for suffix in suffixes)
        assert len(files) == before + len(suffixes), f"{name}: its files are another tensor's too"
    found = set(files_below(root))
    assert found == files, f"unexpected: {sorted(found - files)}, missing: {sorted(files - found)}"
    print(f"{len(expected)} tensors, {len(files)} files")


if __name__ == "__main__":
    main()
