#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs the check.sh of each given folder of tests/, or of all that have one; make check builds their prerequisites.
#
#     run.sh [includes] [FOLDER...]
. "$(dirname "$0")/steps.bash"

if [ $# = 0 ]; then
	set -- includes tests/*/check.sh
	set -- "${@%/check.sh}"
fi
for name; do
	name=${name#tests/}
	if [ "$name" = includes ]; then
		step includes tests/includes.sh
	elif [ -e "tests/$name/check.sh" ]; then
		. "tests/$name/check.sh"
	else
		echo "run.sh: there is no tests/$name/check.sh" >&2
		exit 1
	fi
done
