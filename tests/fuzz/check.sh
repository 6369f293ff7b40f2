#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# FUZZ_SECONDS=N per target. The corpus is kept in the build directory.
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

# The targets have their own sanitizers. Without libFuzzer they run the seeds once.
if [ -z "$SAN" ]; then
	tests/fuzz/seeds.sh "$steps_dir/seeds"
	for target in tests/fuzz/fuzz_*.c; do
		target=$(basename "${target#*/fuzz_}" .c)
		if [ "$target" = main ]; then
			continue
		elif [ -n "${FUZZ_CC:-}" ]; then
			step "fuzz $target" tests/fuzz/fuzz.sh "$target" "$steps_dir/seeds/$target" "$B/corpus/$target" \
				-max_total_time="${FUZZ_SECONDS:-5}"
		else
			step "fuzz $target" "$B/fuzz_$target" "$steps_dir/seeds/$target"/*
		fi
	done
fi
