#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Writes the weights of a quantized model as numpy arrays into one .npz: np.load("OUT.npz")["model.norm.weight"].
#
#   [VIEW=fp16|fp32] safetensors-to-numpy.sh MODEL_DIR OUT.npz
#
# Needs gptqfs, and python3 with safetensors and numpy. numpy has no bfloat16: use fp32 for models of that type.
set -euo pipefail
if [ $# != 2 ] || [ "${VIEW:-}" = bf16 ]; then
	echo "usage: [VIEW=fp16|fp32] $0 MODEL_DIR OUT.npz" >&2
	exit 1
fi
model=$1 out=$2

mnt=$(mktemp -d)
trap 'if mountpoint -q "$mnt"; then fusermount3 -uz "$mnt"; fi; rmdir "$mnt"' EXIT
gptqfs -o view="${VIEW:-fp16}" "$model" "$mnt"

python3 - "$mnt" "$out" <<'EOF'
import glob
import sys
import zipfile

import numpy as np
from safetensors import safe_open

view, out = sys.argv[1:]
# One tensor at a time, so that the model need not fit in memory.
with zipfile.ZipFile(out, "w") as npz:
    for path in sorted(glob.glob(f"{view}/*.safetensors")):
        with safe_open(path, framework="numpy") as shard:
            for name in shard.keys():
                with npz.open(f"{name}.npy", "w", force_zip64=True) as entry:
                    np.lib.format.write_array(entry, shard.get_tensor(name))
EOF
