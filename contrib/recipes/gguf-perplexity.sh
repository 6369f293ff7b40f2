#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# What it is worth that nothing is quantized again: prints the perplexity of a text for the GGUF file in the mount, for
# the F16 file that llama.cpp's converter makes of the same weights, and for llama-quantize's Q4_0 of that one, which is
# what converting a quantized model comes to otherwise.
#
#   LLAMA_CPP=DIR [CONTEXT=512] gguf-perplexity.sh MODEL_DIR TEXT_FILE
#
# Needs what hf-to-gguf.sh needs, llama-perplexity and llama-quantize in PATH, and 3 bytes for each weight in TMPDIR.
# The text should have ten thousand words or more; what is printed after +/- is llama.cpp's own estimate.
set -euo pipefail
if [ $# != 2 ] || [ -z "${LLAMA_CPP:-}" ]; then
	echo "usage: LLAMA_CPP=DIR [CONTEXT=512] $0 MODEL_DIR TEXT_FILE" >&2
	exit 1
fi
model=$1 text=$2

tmp=$(mktemp -d)
mnt=$tmp/mnt
mkdir "$mnt"
trap 'if mountpoint -q "$mnt"; then fusermount3 -uz "$mnt"; fi; rm -rf --one-file-system "$tmp"' EXIT
gptqfs -o view=gguf "$model" "$mnt"
TMPDIR=$tmp "$(dirname "$0")/hf-to-gguf.sh" "$model" "$tmp/f16.gguf" >&2
llama-quantize "$tmp/f16.gguf" "$tmp/q4_0.gguf" Q4_0 >&2

# perplexity NAME FILE: one line of the table.
perplexity() {
	llama-perplexity -m "$2" -f "$text" -c "${CONTEXT:-512}" >"$tmp/log" 2>&1 || { cat "$tmp/log" >&2; exit 1; }
	printf '%-14s %11d bytes  %s\n' "$1" "$(stat -c %s "$2")" "$(grep -o 'PPL = .*' "$tmp/log")"
}

perplexity "exact" "$mnt"/*.gguf
perplexity "F16" "$tmp/f16.gguf"
perplexity "Q4_0 of F16" "$tmp/q4_0.gguf"
