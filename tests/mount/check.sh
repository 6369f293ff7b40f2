#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# BATS_FILES="tests/mount/cli.bats" for some files, BATS_FLAGS="-f PATTERN" for some tests of them.
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

# Ends with the tests counted, as other programs do.
count_tap() {
	local log status=0 ok not_ok skipped

	log=$(bats --tap --print-output-on-failure ${BATS_FLAGS:-} "$1" 2>&1) || status=$?
	skipped=$(grep -cE '^ok [0-9]+ .*# skip' <<<"$log")
	ok=$(($(grep -cE '^ok ' <<<"$log") - skipped))
	not_ok=$(grep -cE '^not ok ' <<<"$log")
	[ "$status" = 0 ] || [ "$not_ok" != 0 ] || not_ok=1
	grep -E '# skip' <<<"$log"
	[ "$status" = 0 ] || grep -A40 -E '^not ok ' <<<"$log" || echo "$log"
	echo "$ok passed, $not_ok failed, $skipped skipped"
	return "$status"
}

for file in ${BATS_FILES:-tests/mount/*.bats}; do
	step "mount $(basename "$file" .bats)" count_tap "$file"
done
