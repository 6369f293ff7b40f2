#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# make demo: mounts a model and shows what is in the mount. The mount stays; the last lines say how to unmount it.
set -euo pipefail
model=$1
mnt=$2
gptqfs=${B:-build}/gptqfs

if mountpoint -q "$mnt"; then
	echo "$mnt is in use by an earlier mount; unmount it first: fusermount3 -u $mnt" >&2
	exit 1
fi
mkdir -p "$mnt"
say() { printf '\n$ %s\n' "$*"; }

say "gptqfs $model $mnt"
"$gptqfs" "$model" "$mnt"
say "ls -l $mnt $mnt/fp16 $mnt/bf16 $mnt/fp32"
ls -l "$mnt" "$mnt/fp16" "$mnt/bf16" "$mnt/fp32"
say "head -n 16 $mnt/info"
head -n 16 "$mnt/info"

# Offset of the first quantized weight: safetensors files start with the length of the header and the header.
shard=$(ls "$mnt"/fp32/*.safetensors | head -1)
read -r name offset < <(python3 - "$shard" <<'EOF'
import json, struct, sys
with open(sys.argv[1], "rb") as f:
    length = struct.unpack("<Q", f.read(8))[0]
    header = json.loads(f.read(length))
name = next((n for n in header if n.endswith("q_proj.weight") or n.endswith("qkv_proj.weight")),
            next(n for n in header if n != "__metadata__"))
print(name, 8 + length + header[name]["data_offsets"][0])
EOF
)
printf '\nthe first weights of %s:' "$name"
say "od -A d -t f4 -j $offset -N 64 $shard"
od -A d -t f4 -j "$offset" -N 64 "$shard"

printf '\n%s stays mounted. Read it with any program; unmount it with:\n\n  fusermount3 -u %s\n' "$mnt" "$mnt"
