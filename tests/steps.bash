# SPDX-License-Identifier: MIT
# Shared by the check.sh of all folders of tests/. A script that sources this lists its steps; they run in the
# background, JOBS at a time, and the script prints "N passed, N failed, N skipped" after the last.
#
# From make check: B (where the programs are), SAN (the sanitizers they were built with), FUZZ_SECONDS, FUZZ_CC,
# QEMU_NEON (empty: not installed).

[ -z "${steps_dir:-}" ] || return 0 # one script runs another
set -uo pipefail
set -m # a process group for each step, so that an interrupt ends all of it
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit
export B=${B:-build}
export GPTQFS=$B/gptqfs
export ASAN_OPTIONS=${ASAN_OPTIONS:-allocator_may_return_null=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-halt_on_error=1:print_stacktrace=1}
export TSAN_OPTIONS=${TSAN_OPTIONS:-halt_on_error=1:second_deadlock_stack=1}
# The interpreter itself: a script that looks for it (pyenv) takes ten times as long as most uses, and tests make thousands.
python=$(python3 -S -c 'import sys; print(sys.executable)')
[ -z "$python" ] || [ "$python" -ef "$(type -P python3)" ] || PATH=${python%/*}:$PATH
SAN=${SAN:-}
JOBS=${JOBS:-$(nproc)}
cuda=$(realpath -m "$B/fake_cuda") # the CUDA plugin over a driver without a GPU
steps_dir=$(mktemp -d)
steps_count=0
trap finish EXIT
trap 'interrupt' INT TERM

# step NAME COMMAND...: a program that prints "N passed, N failed" at the end, or just returns an exit status.
step() {
	while [ "$(jobs -rp | wc -l)" -ge "$JOBS" ]; do
		wait -n
	done
	steps_count=$((steps_count + 1))
	run_step "$steps_dir/$steps_count" "$@" </dev/null &
}

run_step() {
	local log=$1 name=$2 status=0 start=$SECONDS line

	shift 2
	"$@" >"$log" 2>&1 || status=$?
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed' "$log" | tail -1)
	if [ -z "$line" ] && [ "$status" = 0 ]; then
		line="1 passed, 0 failed"
	fi
	# A crash after or instead of the last check counts too.
	if [ "$status" != 0 ] && ! [[ $line =~ ,\ [1-9][0-9]*\ failed ]]; then
		line="0 passed, 1 failed with status $status"
	fi
	echo "$line" >>"$steps_dir/lines"
	(
		flock 9
		printf '%-28s %s (%d s)\n' "$name" "$line" $((SECONDS - start))
		grep '# skip' "$log" | sed 's/^/    /'
		[ "$status" = 0 ] || tail -100 "$log" | sed 's/^/    /'
	) 9>"$steps_dir/lock"
}

# skip NAME REASON
skip() {
	printf '%-28s skipped: %s\n' "$1" "$2"
	echo "0 passed, 0 failed, 1 skipped" >>"$steps_dir/lines"
}

interrupt() {
	local group

	for group in $(jobs -p); do
		kill -TERM -- "-$group" 2>/dev/null
	done
	exit 130
}

finish() {
	local status=$? passed=0 failed=0 skipped=0 p f s

	trap - EXIT
	wait
	while IFS=' ' read -r p _ f _ s _; do
		passed=$((passed + p))
		failed=$((failed + f))
		[[ $s != [0-9]* ]] || skipped=$((skipped + s))
	done < <(cat "$steps_dir/lines" 2>/dev/null)
	rm -rf "$steps_dir"
	[ "$status" = 0 ] || exit "$status"
	echo "$passed passed, $failed failed, $skipped skipped"
	[ "$failed" = 0 ]
	exit $? # without it, a trap exits as the program did before
}
