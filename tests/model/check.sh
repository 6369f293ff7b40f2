#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

# The longest first.
step "accel" env LD_LIBRARY_PATH="$cuda" "$B/test_accel" "$B/fake" "$cuda/gptqfs-cuda.so" \
	tests/data/models/tiny-llama-4b-g32-shard
step "erofs" "$B/test_erofs" tests/data/models/*
tests/tools/make_checkpoint.py names "$steps_dir/names" >/dev/null
step "erofs names" "$B/test_erofs" "$steps_dir/names"
tests/bench/make_model.py flat --tensors 2000 --view-gb 1 "$steps_dir/flat" >/dev/null
step "erofs large" "$B/test_erofs" -m "$steps_dir/flat"
if command -v fsck.erofs >/dev/null; then
	step "erofs fsck" tests/model/fsck_erofs.sh "$steps_dir/names"
else
	skip "erofs fsck" "erofs-utils is not installed"
fi
step "model" "$B/test_model" tests/data/models/*
cp -r tests/data/gguf/models/qwen2-yarn "$steps_dir/late"
step "late" "$B/test_late" "$steps_dir/late" "$steps_dir/late/model.safetensors"
