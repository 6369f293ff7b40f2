#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Changes a checkpoint of one file: edit_model.py DIR runs the Python on stdin, which sees

    tensors   {name: [dtype, shape, bytes]}   of model.safetensors
    config    config.json
    ints(format, ...)                         struct.pack, to make bytes
"""
import json
import pathlib
import struct
import sys

model = pathlib.Path(sys.argv[1])
data = (model / "model.safetensors").read_bytes()
size = struct.unpack("<Q", data[:8])[0]
header, data = json.loads(data[8:8 + size]), data[8 + size:]
metadata = header.pop("__metadata__", {})
tensors = {name: [t["dtype"], t["shape"], data[slice(*t["data_offsets"])]] for name, t in header.items()}
config = json.loads((model / "config.json").read_text())
exec(sys.stdin.read(), {"tensors": tensors, "config": config, "ints": struct.pack})
header, data = {"__metadata__": metadata}, b""
for name, (dtype, shape, part) in tensors.items():
    header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
    data += part
header = json.dumps(header).encode()
(model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + data)
(model / "config.json").write_text(json.dumps(config))
