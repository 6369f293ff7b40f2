#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# FAULT_RUNS=N faults of each kind; 0 for all of them (make faults).
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

# Three bundled checkpoints; a cache entry with links; one that is served with a warning; experts in one tensor, with and
# without one missing.
models=()
for name in tiny-llama-4b-g32-shard tiny-llama-4b-g32-asym-act tiny-llama-3b-g32-asym; do
	models+=("tests/data/models/$name" "tests/data/expected/$name.F16.json")
done
for name in hf_cache unlisted plain gpt_oss_interleaved missing_expert; do
	python3 -S tests/tools/make_checkpoint.py "$name" "$steps_dir/$name"
done
step "faults" "$B/sweep" -n "${FAULT_RUNS:-15}" "${models[@]}" "$steps_dir/hf_cache/models--org--name" \
	"$steps_dir/unlisted" "$steps_dir/gpt_oss_interleaved" "$steps_dir/missing_expert"
step "faults of an adapter" "$B/sweep" -n "${FAULT_RUNS:-15}" -l tests/data/lora/adapters/qwen2-bias-all tests/data/models/tiny-qwen2-4b-g64-asym
step "faults of a server" tests/faults/live.py --runs="${FAULT_RUNS:-15}" "$B/gptqfs-faulty" "$steps_dir/plain"
step "sources that change" tests/faults/changes.py "$GPTQFS" tests/data/models/tiny-llama-4b-g32-shard
