#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs tests one after the other and prints a table: run.sh [TEST...], of those named below.
#
# SOAK_SCALE=N: N percent of the counts; SOAK_MINUTES: of the readers, instead of 30. SOAK_OUT: where the table and the
# logs are kept.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
B=${B:-build}
scale=${SOAK_SCALE:-100}
out=${SOAK_OUT:-$B/soak}
status=0
mkdir -p "$out"

# share N: that percentage of N, at least 1.
share() {
	local n=$(($1 * scale / 100))

	echo $((n > 0 ? n : 1))
}

minutes() {
	awk "BEGIN { print $1 * $scale / 100 }"
}

# test_X: prints its seed, what is wrong, and its rows.
test_mounts() {
	tests/soak/mounts.py --cycles="$(share 5000)" "$B/gptqfs"
}

test_readers() {
	tests/soak/readers.py --minutes="${SOAK_MINUTES:-$(minutes 30)}" "$B/gptqfs"
}

test_threads() {
	local program=$B/san-thread/gptqfs

	if [ ! -x "$program" ]; then
		echo "# skip $program is not there"
		return
	fi
	export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
	tests/soak/readers.py --memory=0 --minutes="$(minutes 5)" "$program" | sed 's/^| /| thread sanitizer: /'
}

test_signals() {
	tests/soak/signals.py --rounds="$(share 200)" "$B/gptqfs"
}

test_exports() {
	tests/soak/exports.py --rounds="$(share 200)" "$B/gptqfs"
}

test_differences() {
	tests/soak/differential.py --models="$(share 1000)" --build="$B" "$B/gptqfs"
}

test_changes() {
	local n sums=() status=0

	for n in $(seq "$(share 10)"); do
		sums+=("$out/changes.$n")
		tests/faults/changes.py "$B/gptqfs" tests/data/models/tiny-llama-4b-g32-shard >"${sums[-1]}" || {
			status=1
			cat "${sums[-1]}"
		}
	done
	# A run without a sum has crashed.
	awk '/ passed, / { runs++; p += $1; f += $3 } END {
		f += ARGC - 1 - runs
		printf "| source truncated, grown, overwritten, renamed, its server killed, disk full | %d changes | %d wrong |\n", p + f, f
	}' "${sums[@]}"
	return $status
}

# Every call of opening, reading, exporting and merging.
test_faults() {
	local status=0

	FAULT_EVERY=$((scale < 100 ? 100 / scale : 1)) B=$B tests/run.sh faults | tee "$out/faults.steps" || status=1
	awk '/^[0-9]+ passed, / { p = $1; f = $3 } END { printf "| every call fails once, and from then on | %d runs | %d wrong |\n", p + f, f }' \
		"$out/faults.steps"
	return $status
}

[ $# -gt 0 ] || set -- mounts readers threads signals changes exports differences faults
printf '| test | count | result |\n|---|---|---|\n' | tee "$out/table.md"
for name; do
	"test_$name" >"$out/$name.log" 2>&1 || status=1
	grep '^| ' "$out/$name.log" | tee -a "$out/table.md"
	grep -v '^| ' "$out/$name.log" | grep -v -E '^(seed|.* passed, .* failed)' >&2
done
echo "logs and the table are in $out" >&2
exit $status
