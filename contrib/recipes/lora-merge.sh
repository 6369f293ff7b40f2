#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Merges a LoRA adapter into a quantized model: the result in OUT_DIR is an ordinary model, W + scale * B A, rounded
# once. gptqfs does all of it, so this is an export of a view; a program that can read a mount needs no copy.
#
#   [VIEW=fp16|bf16|fp32] lora-merge.sh MODEL_DIR ADAPTER_DIR OUT_DIR
#
# Needs gptqfs, but no FUSE. VIEW is the type of the result; `gptqfs --check MODEL_DIR` says which one fits the model. If
# it is interrupted, the same command continues.
set -euo pipefail
if [ $# != 3 ]; then
	echo "usage: [VIEW=fp16|bf16|fp32] $0 MODEL_DIR ADAPTER_DIR OUT_DIR" >&2
	exit 1
fi
exec gptqfs --export="$3" --lora="$2:1" -o view="${VIEW:-fp16}" "$1"
