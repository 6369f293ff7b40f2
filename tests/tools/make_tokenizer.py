#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Gives a checkpoint a byte-level BPE tokenizer of the size real models have: make_tokenizer.py DIR TOKENS

Every token after the first 256 is two earlier ones, as the merges say. tokenizer.json is laid out as the tokenizers
library does; of 151,643 tokens it has 7 MB, like Qwen2's. The embedding, which has to fit, becomes a hole of zeros.
"""
import json
import pathlib
import random
import struct
import sys

model, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
rng = random.Random(7)
# The alphabet of byte-level BPE: printable Latin-1 stands for itself, all other bytes for U+0100 and on.
plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
tokens = [chr(b) for b in plain] + [chr(0x100 + i) for i in range(256 - len(plain))]
known, merges = set(tokens), []
letters = [chr(c) for c in range(ord("a"), ord("z") + 1)]
tokens += [token for token in ("\u0120" + c for c in letters)]
merges += [f"\u0120 {c}" for c in letters]
known.update(tokens)
while len(tokens) < count:
    left, right = rng.choice(tokens[256:]) if len(tokens) < 1000 else tokens[rng.randrange(256, len(tokens) // 2)], rng.choice(letters)
    if len(left) < 9 and left + right not in known:
        known.add(left + right)
        tokens.append(left + right)
        merges.append(f"{left} {right}")

path = model / "tokenizer.json"
tokenizer = json.loads(path.read_text())
tokenizer["added_tokens"] = []
tokenizer["model"].update(vocab={token: i for i, token in enumerate(tokens)}, merges=merges)
path.write_text(json.dumps(tokenizer, indent=2, ensure_ascii=False))

path = model / "config.json"
config = json.loads(path.read_text())
config["vocab_size"] = count
path.write_text(json.dumps(config))

# The embedding comes last, where a hole can hold it.
path = model / "model.safetensors"
data = path.read_bytes()
size = struct.unpack("<Q", data[:8])[0]
header, data = json.loads(data[8:8 + size]), data[8 + size:]
embedding = header.pop("model.embed_tokens.weight")
rest, header["model.embed_tokens.weight"] = b"", embedding
for name, t in header.items():
    if name in ("__metadata__", "model.embed_tokens.weight"):
        continue
    part = data[slice(*t["data_offsets"])]
    t["data_offsets"] = [len(rest), len(rest) + len(part)]
    rest += part
embedding["shape"][0] = count
embedding["data_offsets"] = [len(rest), len(rest) + 2 * count * embedding["shape"][1]]
header = json.dumps(header).encode()
with path.open("wb") as f:
    f.write(struct.pack("<Q", len(header)) + header + rest)
    f.truncate(8 + len(header) + embedding["data_offsets"][1])
