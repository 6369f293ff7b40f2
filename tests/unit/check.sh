#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

# What watches threads has nothing to find where there is one.
for test in $(case $SAN in *thread*) grep -l pthread tests/unit/*.c ;; *) ls tests/unit/test_*.c ;; esac); do
	test=$(basename "$test" .c)
	step "unit ${test#test_}" "$B/$test"
done
