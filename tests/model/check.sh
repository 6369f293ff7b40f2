#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

step "model" "$B/test_model" tests/data/models/*
cp -r tests/data/gguf/models/qwen2-yarn "$steps_dir/late"
step "late" "$B/test_late" "$steps_dir/late" "$steps_dir/late/model.safetensors"
step "accel" env LD_LIBRARY_PATH="$cuda" "$B/test_accel" "$B/fake" "$cuda/gptqfs-cuda.so" \
	tests/data/models/tiny-llama-4b-g32-shard
