#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Lets a quantized model answer a prompt as it is and with each adapter of a directory: one mount has them all, and
# nothing is merged on disk.
#
#   [VIEW=fp16|bf16|fp32] lora-compare.sh MODEL_DIR ADAPTERS_DIR PROMPT
#
# Needs gptqfs, and python3 with transformers. Adapters that cannot be merged are named with the reason.
set -euo pipefail
if [ $# != 3 ]; then
	echo "usage: [VIEW=fp16|bf16|fp32] $0 MODEL_DIR ADAPTERS_DIR PROMPT" >&2
	exit 1
fi
model=$1 adapters=$2 prompt=$3

mnt=$(mktemp -d)
trap 'if mountpoint -q "$mnt"; then fusermount3 -uz "$mnt"; fi; rmdir "$mnt"' EXIT
gptqfs --loras="$adapters" "$model" "$mnt"

python3 - "$mnt" "${VIEW:-fp16}" "$prompt" <<'EOF_PYTHON'
import os
import sys

from transformers import AutoModelForCausalLM, AutoTokenizer

mnt, view, prompt = sys.argv[1:]


def answer(name, path):
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
    ids = tokenizer(prompt, return_tensors="pt")
    out = model.generate(**ids, max_new_tokens=40, do_sample=False)
    print(f"{name}: {tokenizer.decode(out[0][ids['input_ids'].shape[1]:])!r}", flush=True)


answer("base", os.path.join(mnt, view))
for name in sorted(os.listdir(os.path.join(mnt, "lora"))):
    path = os.path.join(mnt, "lora", name)
    if os.path.exists(os.path.join(path, "REFUSED")):
        with open(os.path.join(path, "REFUSED")) as f:
            print(f"{name}: refused: {f.read().strip()}")
    else:
        answer(name, os.path.join(path, view))
EOF_PYTHON
