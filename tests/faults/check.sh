#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Every 50th call of a model of each family, of a server, of exports and of merging fails; two of each kind with other
# models. FAULT_EVERY=N: every N-th of all of them; make faults takes 1. With sanitizers, which are slow, a quarter.
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

case $SAN in '') slow=1 ;; *) slow=4 ;; esac
often=${FAULT_EVERY:-$((50 * slow))}

# sweep EVERY MODEL [EXPECTED]: a step.
sweep() {
	local every=${FAULT_EVERY:-$1}

	shift
	step "faults: $(basename "$1")" "$B/sweep" -e "$every" "$@"
}

families='
models/tiny-phi3-4b-g32
int/models/awq-gemm-g32
int/models/ct-bits-2to7
int/models/gemma-int248
int/models/hqq-2b-g16-axis0-qwen2
int/models/mlx-3b-g32
float/models/f-bnb-gpt2
float/models/f-fp8-experts-3d
float/models/f-mxfp4-gptoss
'
for model in tests/data/{,*/}models/*; do
	[[ $families = *$'\n'"${model#tests/data/}"$'\n'* ]] && every=$often || every=1000
	expected=${model/models/expected}.F16.json
	[ -e "$expected" ] || expected=
	sweep "$every" "$model" ${expected:+"$expected"}
done
# A cache entry with links; one that is served with a warning; experts in one tensor, with and without one missing.
for name in hf_cache unlisted plain gpt_oss_interleaved missing_expert; do
	python3 -S tests/tools/make_checkpoint.py "$name" "$steps_dir/$name"
done
for model in hf_cache/models--org--name unlisted gpt_oss_interleaved missing_expert; do
	sweep 1000 "$steps_dir/$model"
done
lora=tests/data/lora/adapters
qwen2=tests/data/models/tiny-qwen2-4b-g64-asym
step "faults of an adapter" "$B/sweep" -e "$often" -l "$lora/qwen2-bias-all" "$qwen2"
step "faults of a fused adapter" "$B/sweep" -e "$often" -l "$lora/phi3-fused" tests/data/models/tiny-phi3-4b-g32
step "faults of a server" tests/faults/live.py --every="${FAULT_EVERY:-$((10 * slow))}" "$B/gptqfs-faulty" "$steps_dir/plain"
step "faults of an export" tests/faults/exports.py --every="$often" -o view=fp16 "$B/gptqfs-faulty" \
	tests/data/models/tiny-llama-4b-g32-shard
step "faults of a merged GGUF" tests/faults/exports.py --every="$often" -o "view=gguf,lora=$lora/qwen2-tied-head" \
	"$B/gptqfs-faulty" "$qwen2"
step "sources that change" tests/faults/changes.py "$GPTQFS" tests/data/models/tiny-llama-4b-g32-shard
