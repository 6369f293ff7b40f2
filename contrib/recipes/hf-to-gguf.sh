#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Converts a quantized model to GGUF: llama.cpp's converter, which only reads ordinary models, reads the mount.
# llama-quantize can then make any of llama.cpp's own quantizations from the result.
#
#   LLAMA_CPP=DIR [VIEW=fp16|bf16|fp32] hf-to-gguf.sh MODEL_DIR OUT.gguf
#
# Needs gptqfs, a checkout of llama.cpp in LLAMA_CPP, and python3 with its requirements/requirements-convert_hf_to_gguf.txt.
set -euo pipefail
if [ $# != 2 ] || [ -z "${LLAMA_CPP:-}" ]; then
	echo "usage: LLAMA_CPP=DIR [VIEW=fp16|bf16|fp32] $0 MODEL_DIR OUT.gguf" >&2
	exit 1
fi
model=$1 out=$2
view=${VIEW:-fp16}
declare -A outtype=([fp16]=f16 [bf16]=bf16 [fp32]=f32)

mnt=$(mktemp -d)
trap 'if mountpoint -q "$mnt"; then fusermount3 -uz "$mnt"; fi; rmdir "$mnt"' EXIT
gptqfs -o view="$view" "$model" "$mnt"

# Without a name the converter would use the mountpoint's.
python3 "$LLAMA_CPP/convert_hf_to_gguf.py" --outtype "${outtype[$view]}" --outfile "$out" \
	--model-name "$(basename "$(realpath "$model")")" "$mnt"
