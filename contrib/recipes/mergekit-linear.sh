#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Merges two quantized models of one architecture with mergekit: every tensor of OUT_DIR is WEIGHT * A + (1 - WEIGHT) *
# B. mergekit reads both mounts tensor by tensor. For its other methods, change the configuration below.
#
#   [VIEW=fp16|bf16|fp32] mergekit-linear.sh MODEL_A_DIR MODEL_B_DIR WEIGHT OUT_DIR
#
# Needs gptqfs and mergekit. The tokenizer is A's.
set -euo pipefail
if [ $# != 4 ]; then
	echo "usage: [VIEW=fp16|bf16|fp32] $0 MODEL_A_DIR MODEL_B_DIR WEIGHT OUT_DIR" >&2
	exit 1
fi
model_a=$1 model_b=$2 weight=$3 out=$4
view=${VIEW:-fp16}
declare -A dtype=([fp16]=float16 [bf16]=bfloat16 [fp32]=float32)

work=$(mktemp -d)
cleanup() {
	for mnt in "$work/a" "$work/b"; do
		if mountpoint -q "$mnt"; then fusermount3 -uz "$mnt"; fi
	done
	rm -rf --one-file-system "$work"
}
trap cleanup EXIT
mkdir "$work/a" "$work/b"
gptqfs -o view="$view" "$model_a" "$work/a"
gptqfs -o view="$view" "$model_b" "$work/b"

cat >"$work/merge.yml" <<EOF
merge_method: linear
dtype: ${dtype[$view]}
models:
  - model: $work/a
    parameters:
      weight: $weight
  - model: $work/b
    parameters:
      weight: $(python3 -c 'import sys; print(1 - float(sys.argv[1]))' "$weight")
EOF
mergekit-yaml --quiet "$work/merge.yml" "$out"
