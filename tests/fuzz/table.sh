#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Fuzzes targets one after the other and prints a row about each: table.sh TARGET...
#
# FUZZ_RUNS executions of each, or FUZZ_SECONDS seconds. FUZZ_CORPUS keeps the corpora, and how often each target has
# been executed on the way to them.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit
export B=${B:-build}
corpus=${FUZZ_CORPUS:-$B/corpus}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
limit=-max_total_time=${FUZZ_SECONDS:-60}
[ -z "${FUZZ_RUNS:-}" ] || limit=-runs=$FUZZ_RUNS
status=0
tests/fuzz/seeds.sh "$work/seeds"
mkdir -p "$corpus"
echo "| target | executions now | in all | edges | inputs kept | result |"
echo "|---|---|---|---|---|---|"
for target; do
	result=passed
	tests/fuzz/fuzz.sh "$target" "$work/seeds/$target" "$corpus/$target" "$limit" >"$work/log" 2>&1 || result=FAILED
	count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")
	edges=$(grep -ao 'cov: [0-9]*' "$work/log" | tail -1)
	all=$((${count:-0} + $(cat "$corpus/$target.count" 2>/dev/null || echo 0)))
	echo "$all" >"$corpus/$target.count"
	echo "| $target | ${count:-0} | $all | ${edges#cov: } | $(find "$corpus/$target" -type f | wc -l) | $result |"
	if [ "$result" != passed ]; then
		tail -60 "$work/log" >&2
		status=1
	fi
done
exit $status
