#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Merges a LoRA adapter into a GPTQ model: the result in OUT_DIR is an ordinary model, W + scale * B A. PEFT reads the
# mount; the only weights written to disk are the merged ones.
#
#   [VIEW=fp16|bf16|fp32] lora-merge.sh MODEL_DIR ADAPTER_DIR OUT_DIR
#
# Needs gptqfs, and python3 with peft and transformers. VIEW is the type of the result; `info` in a mount says which
# one fits the model.
set -euo pipefail
if [ $# != 3 ]; then
	echo "usage: [VIEW=fp16|bf16|fp32] $0 MODEL_DIR ADAPTER_DIR OUT_DIR" >&2
	exit 1
fi
model=$1 adapter=$2 out=$3

mnt=$(mktemp -d)
trap 'if mountpoint -q "$mnt"; then fusermount3 -uz "$mnt"; fi; rmdir "$mnt"' EXIT
gptqfs -o view="${VIEW:-fp16}" "$model" "$mnt"

python3 - "$mnt" "$adapter" "$out" <<'EOF'
import sys

from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

base, adapter, out = sys.argv[1:]
model = AutoModelForCausalLM.from_pretrained(base, dtype="auto")
# safe_merge refuses an adapter that gives infinities or NaN.
model = PeftModel.from_pretrained(model, adapter).merge_and_unload(safe_merge=True)
model.save_pretrained(out)
AutoTokenizer.from_pretrained(base).save_pretrained(out)
EOF
