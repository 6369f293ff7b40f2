#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

for test in tests/unit/test_*.c; do
	test=$(basename "$test" .c)
	step "unit ${test#test_}" "$B/$test"
done
