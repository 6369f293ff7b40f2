#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# FUZZ_SECONDS=N per target. The corpus is kept in the build directory.
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

# fuzz TARGET: for some time or, without libFuzzer, the seeds once.
fuzz() {
	local seeds=$steps_dir/seeds/$1

	if [ -n "${FUZZ_CC:-}" ]; then
		mkdir -p "$B/corpus/$1"
		"$B/fuzz_$1" -max_total_time="${FUZZ_SECONDS:-5}" -max_len=65536 -rss_limit_mb=4096 -timeout=20 \
			-artifact_prefix="$B/corpus/$1-crash-" "$B/corpus/$1" "$seeds"
	else
		"$B/fuzz_$1" "$seeds"/*
	fi
}

# The targets have their own sanitizers.
if [ -z "$SAN" ]; then
	tests/fuzz/seeds.sh "$steps_dir/seeds"
	for target in tests/fuzz/fuzz_*.c; do
		target=$(basename "${target#*/fuzz_}" .c)
		[ "$target" = main ] || step "fuzz $target" fuzz "$target"
	done
fi
