#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Prints how many lines of core/ the corpora reach, except in files of trusted.txt: coverage.sh TARGET...
set -euo pipefail
cd "$(dirname "$0")/../.."
corpus=${FUZZ_CORPUS:-$B/corpus}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tests/fuzz/seeds.sh "$work/seeds"
objects=()
for target; do
	find "$work/seeds/$target" "$corpus/$target" -type f -print0 2>/dev/null | LLVM_PROFILE_FILE=$work/$target-%p.profraw \
		xargs -0 -n 1000 "$B/coverage/fuzz_$target" >/dev/null
	objects+=(-object "$B/coverage/fuzz_$target")
	llvm-profdata merge -sparse "$work/$target"-*.profraw -o "$work/$target.profdata"
	rm -f "$work/$target"-*.profraw
done
llvm-profdata merge -sparse "$work"/*.profdata -o "$work/all.profdata"
llvm-cov export -summary-only -instr-profile "$work/all.profdata" "${objects[@]}" |
	python3 -S tests/fuzz/coverage.py tests/fuzz/trusted.txt
