#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# FAULT_RUNS=N faults of each kind; 0 for all of them (make faults).
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

# A model of each family, and each bundled GPTQ model; a cache entry with links; one that is served with a warning; experts
# in one tensor, with and without one missing.
models=()
for model in tests/data/{float,int,gguf,.}/models/*; do
	models+=("$model")
	expected=${model/models/expected}.F16.json
	[ ! -e "$expected" ] || models+=("$expected")
done
for name in hf_cache unlisted plain gpt_oss_interleaved missing_expert; do
	python3 -S tests/tools/make_checkpoint.py "$name" "$steps_dir/$name"
done
lora=tests/data/lora/adapters
qwen2=tests/data/models/tiny-qwen2-4b-g64-asym
step "faults" "$B/sweep" -n "${FAULT_RUNS:-2}" "${models[@]}" "$steps_dir/hf_cache/models--org--name" \
	"$steps_dir/unlisted" "$steps_dir/gpt_oss_interleaved" "$steps_dir/missing_expert"
step "faults of an adapter" "$B/sweep" -n "${FAULT_RUNS:-8}" -l "$lora/qwen2-bias-all" "$qwen2"
step "faults of a fused adapter" "$B/sweep" -n "${FAULT_RUNS:-4}" -l "$lora/phi3-fused" tests/data/models/tiny-phi3-4b-g32
step "faults of a server" tests/faults/live.py --runs="${FAULT_RUNS:-10}" "$B/gptqfs-faulty" "$steps_dir/plain"
step "faults of an export" tests/faults/exports.py --runs="${FAULT_RUNS:-3}" -o view=fp16 "$B/gptqfs-faulty" \
	tests/data/models/tiny-llama-4b-g32-shard
step "faults of a merged GGUF" tests/faults/exports.py --runs="${FAULT_RUNS:-2}" -o "view=gguf,lora=$lora/qwen2-tied-head" \
	"$B/gptqfs-faulty" "$qwen2"
step "sources that change" tests/faults/changes.py "$GPTQFS" tests/data/models/tiny-llama-4b-g32-shard
