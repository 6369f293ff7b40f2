#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Merges a LoRA adapter into a quantized model: the result in OUT_DIR is an ordinary model, W + scale * B A, rounded
# once. gptqfs does all of it, so this is a copy of a mount; a program that can read the mount needs no copy.
#
#   [VIEW=fp16|bf16|fp32] lora-merge.sh MODEL_DIR ADAPTER_DIR OUT_DIR
#
# Needs gptqfs. VIEW is the type of the result; `info` in a mount says which one fits the model.
set -euo pipefail
if [ $# != 3 ]; then
	echo "usage: [VIEW=fp16|bf16|fp32] $0 MODEL_DIR ADAPTER_DIR OUT_DIR" >&2
	exit 1
fi
mnt=$(mktemp -d)
trap 'rmdir "$mnt"' EXIT
gptqfs --lora="$2:1" -o view="${VIEW:-fp16}" "$1" "$mnt" -- cp -rT "$mnt" "$3"
