#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs a program that loads models by their id in the Hub: while it runs, the cache has an entry ORG/NAME, whose only
# revision is a mount.
#
#   [VIEW=fp16|bf16|fp32] hub-cache.sh MODEL_DIR ORG/NAME COMMAND [ARG]...
#
# Needs gptqfs, and for COMMAND any program that uses huggingface_hub or its layout. The cache is found as by that:
# HF_HUB_CACHE, HF_HOME/hub or ~/.cache/huggingface/hub; it may not have the entry already. COMMAND is offline, or it
# would ask the Hub for ORG/NAME.
set -euo pipefail
if [ $# -lt 3 ] || [[ $2 != ?*/?* ]]; then
	echo "usage: [VIEW=fp16|bf16|fp32] $0 MODEL_DIR ORG/NAME COMMAND [ARG]..." >&2
	exit 1
fi
model=$1 id=$2
shift 2

export HF_HUB_CACHE=${HF_HUB_CACHE:-${HF_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/huggingface}/hub}
entry=$HF_HUB_CACHE/models--${id//\//--}
mkdir -p "$HF_HUB_CACHE"
mkdir "$entry"
revision=$(printf '0%.0s' {1..40})
mnt=$entry/snapshots/$revision
trap 'if mountpoint -q "$mnt"; then fusermount3 -uz "$mnt"; fi; rm -rf --one-file-system "$entry"' EXIT
mkdir -p "$entry/refs" "$mnt"
printf %s "$revision" >"$entry/refs/main"
gptqfs -o view="${VIEW:-fp16}" "$model" "$mnt"

HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 "$@"
