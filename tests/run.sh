#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the tests and ends with "N passed, N failed, N skipped".
#
#     run.sh [includes] [unit] [kernels] [model] [faults] [fuzz] [mount]      all of them if none is named
#
# From make check: B (where the programs are), SAN (the sanitizers they were built with), FAULT_RUNS (of each kind; 0
# for all), FUZZ_SECONDS, FUZZ_CC, QEMU_NEON (empty: not to be had).
set -uo pipefail
cd "$(dirname "$0")/.."
B=${B:-build}
SAN=${SAN:-}
export B
export GPTQFS=$B/gptqfs
export ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
# Random checkpoints per run: what takes about 15 seconds.
case $SAN in '') cases=3000 ;; *thread*) cases=100 ;; *) cases=1000 ;; esac
FAULT_RUNS=${FAULT_RUNS:-15}
export CASES=${CASES:-$cases}
cuda=$(realpath -m "$B/fake_cuda") # the CUDA plugin over a driver without a GPU
passed=0
failed=0
skipped=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# One step: a program that ends with "N passed, N failed", or only with its exit status.
step() {
	local name=$1 status=0 start=$SECONDS line
	shift
	"$@" >"$log" 2>&1 || status=$?
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -1)
	if [ -n "$line" ]; then
		passed=$((passed + $(echo "$line" | cut -d' ' -f1)))
		failed=$((failed + $(echo "$line" | cut -d' ' -f3)))
		case $line in *skipped) skipped=$((skipped + $(echo "$line" | cut -d' ' -f5))) ;; esac
	elif [ "$status" = 0 ]; then
		passed=$((passed + 1))
		line=passed
	fi
	# A crash after the last check, or instead of it, counts too.
	if [ "$status" != 0 ] && ! [[ $line =~ ,\ [1-9][0-9]*\ failed ]]; then
		failed=$((failed + 1))
		line="failed with status $status"
	fi
	printf '%-28s %s (%d s)\n' "$name" "$line" $((SECONDS - start))
	if [ "$status" != 0 ]; then
		sed 's/^/    /' "$log" | tail -60
	fi
}

unit() {
	local test
	for test in tests/unit/test_*.c tests/random/test_*.c; do
		test=$(basename "$test" .c)
		step "unit ${test#test_}" "$B/$test"
	done
}

kernels() {
	local mutant cxx

	step "kernels" "$B/check_kernel"
	if [ -n "${QEMU_NEON:-}" ]; then
		step "kernels neon, under qemu" env QEMU_LD_PREFIX=/usr/aarch64-linux-gnu "$QEMU_NEON" "$B/neon/check_kernel"
	elif [ -z "$SAN" ] && [ "$(uname -m)" != aarch64 ]; then
		printf '%-28s %s\n' "kernels neon" "skipped: no cross compiler or no qemu-user (make deps-neon)"
		skipped=$((skipped + 1))
	fi
	for cxx in g++ clang; do
		command -v "$cxx" >/dev/null || continue
		step "cuda kernels as C++ ($cxx)" "$cxx" -x c++ -std=c++17 -Wall -Wextra -Werror -Wno-unknown-pragmas \
			-Wno-unused-function -fsyntax-only -include tests/cuda/shim.h -Icuda cuda/dequant.cu
	done
	step "cuda kernels, emulated" env LD_LIBRARY_PATH="$cuda" "$B/check_kernel" --emulated \
		--accel="$cuda/gptqfs-cuda.so"
	for mutant in tests/cuda/*.sed; do
		mutant=$(basename "$mutant" .sed)
		case $mutant,$SAN in
		one_beyond,*address*) step "cuda mutant $mutant" caught 'global-buffer-overflow' "$mutant" ;;
		one_beyond,*) ;; # its bytes are right
		*) step "cuda mutant $mutant" caught '^  FAILED: ' "$mutant" ;;
		esac
	done
}

# caught PATTERN MUTANT: the checker fails, and says PATTERN.
caught() {
	local out

	out=$(LD_LIBRARY_PATH="$cuda/$2" "$B/check_kernel" --emulated --stop --accel="$cuda/gptqfs-cuda.so" 2>&1) && return 1
	grep -q "$1" <<<"$out" || { echo "$out" && return 1; }
}

models() {
	step "model" "$B/test_model" tests/data/models/*
	step "accel" env LD_LIBRARY_PATH="$cuda" "$B/test_accel" "$B/fake" "$cuda/gptqfs-cuda.so" \
		tests/data/models/tiny-llama-4b-g32-shard
}

# Three bundled checkpoints; a cache entry with links; one that is served with a warning; experts in one tensor, with and
# without one missing.
faults() {
	local dir name models=()

	dir=$(mktemp -d)
	for name in tiny-llama-4b-g32-shard tiny-llama-4b-g32-asym-act tiny-llama-3b-g32-asym; do
		models+=("tests/data/models/$name" "tests/data/expected/$name.F16.json")
	done
	for name in hf_cache unlisted plain gpt_oss_turns missing_expert; do
		python3 -S tests/tools/make_checkpoint.py "$name" "$dir/$name"
	done
	step "faults" "$B/sweep" -n "$FAULT_RUNS" "${models[@]}" "$dir/hf_cache/models--org--name" "$dir/unlisted" \
		"$dir/gpt_oss_turns" "$dir/missing_expert"
	step "faults of a server" tests/faults/live.py --runs="$FAULT_RUNS" "$B/gptqfs-faulty" "$dir/plain"
	step "sources that change" tests/faults/changes.py "$GPTQFS" tests/data/models/tiny-llama-4b-g32-shard
	rm -rf "$dir"
}

fuzz() {
	local target seeds
	[ -z "$SAN" ] || return 0 # the targets have sanitizers of their own
	seeds=$(mktemp -d)
	tests/fuzz/seeds.sh "$seeds"
	for target in tests/fuzz/fuzz_*.c; do
		target=$(basename "$target" .c)
		target=${target#fuzz_}
		[ "$target" != main ] || continue
		if [ -n "${FUZZ_CC:-}" ]; then
			mkdir -p "$B/corpus/$target"
			step "fuzz $target (${FUZZ_SECONDS}s)" "$B/fuzz_$target" -max_total_time="$FUZZ_SECONDS" -max_len=65536 \
				-rss_limit_mb=4096 -timeout=20 -artifact_prefix="$B/corpus/$target-crash-" "$B/corpus/$target" "$seeds/$target"
		else
			step "fuzz $target (seeds)" "$B/fuzz_$target" "$seeds/$target"/*
		fi
	done
	rm -rf "$seeds"
}

# bats files count test by test.
mounts() {
	local file ok not_ok skip
	for file in ${BATS_FILES:-tests/mount/*.bats}; do
		local start=$SECONDS status=0
		bats --tap --print-output-on-failure ${BATS_FLAGS:-} "$file" >"$log" 2>&1 || status=$?
		skip=$(grep -cE '^ok [0-9]+ .*# skip' "$log")
		ok=$(($(grep -cE '^ok ' "$log") - skip))
		not_ok=$(grep -cE '^not ok ' "$log")
		[ "$status" = 0 ] || [ "$not_ok" != 0 ] || not_ok=1
		passed=$((passed + ok))
		failed=$((failed + not_ok))
		skipped=$((skipped + skip))
		printf '%-28s %d passed, %d failed, %d skipped (%d s)\n' "$(basename "$file")" "$ok" "$not_ok" "$skip" \
			$((SECONDS - start))
		[ "$status" = 0 ] || grep -A40 -E '^not ok ' "$log" | sed 's/^/    /' | head -200
		grep -E '# skip' "$log" | sed 's/^/    /'
	done
}

steps=("$@")
if [ ${#steps[@]} = 0 ]; then
	if [ "$SAN" = thread ]; then
		steps=(unit model mount) # what has threads
	else
		steps=(includes unit kernels model faults fuzz mount)
	fi
fi
for name in "${steps[@]}"; do
	case $name in
	includes) step "includes" tests/includes.sh ;;
	unit) unit ;;
	kernels) kernels ;;
	model) models ;;
	faults) faults ;;
	fuzz) fuzz ;;
	mount) mounts ;;
	*) echo "run.sh: no step $name" >&2 && exit 1 ;;
	esac
done
echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ]
