#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Writes a table of a quantized model's tensors: shape, minimum, maximum, root mean square. numpy maps the arrays of the
# view tensors/, so pages are computed when touched, and no whole tensor is in memory.
#
#   [VIEW=fp16|fp32] npy-statistics.sh MODEL_DIR OUT.tsv
#
# Needs gptqfs, and python3 with numpy. Joined modules (qkv_proj, gate_up_proj) are beside their parts. NAME.t.npy is
# the transposed matrix, which this leaves out.
set -euo pipefail
if [ $# != 2 ]; then
	echo "usage: [VIEW=fp16|fp32] $0 MODEL_DIR OUT.tsv" >&2
	exit 1
fi
model=$1 out=$2

mnt=$(mktemp -d)
trap 'if mountpoint -q "$mnt"; then fusermount3 -uz "$mnt"; fi; rmdir "$mnt"' EXIT
gptqfs -o view=tensors -o dtype="${VIEW:-fp16}" "$model" "$mnt"

python3 - "$mnt" "$out" <<'EOF'
import glob
import sys

import numpy as np

view, out = sys.argv[1:]
with open(out, "w") as table:
    print("tensor", "shape", "minimum", "maximum", "rms", sep="\t", file=table)
    for path in sorted(glob.glob("**/*.npy", root_dir=view, recursive=True)):
        if path.endswith(".t.npy"):
            continue
        a = np.load(f"{view}/{path}", mmap_mode="r")
        squares = sum(np.square(row, dtype="f8").sum() for row in np.atleast_2d(a))
        shape = "x".join(map(str, a.shape))
        print(path.removesuffix(".npy"), shape, a.min(), a.max(), np.sqrt(squares / a.size), sep="\t", file=table)
EOF
