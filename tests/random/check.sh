#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# CASES=N for more or fewer checkpoints, SEED=N to repeat an earlier run.
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

# About 20 seconds of one CPU.
case $SAN in '') cases=600 ;; *thread*) cases=100 ;; *) cases=200 ;; esac
step "random" env CASES="${CASES:-$cases}" "$B/test_random"
step "random families" env CASES="${CASES:-$((cases / 3))}" "$B/test_families"

# A signal leaves no directory in /dev/shm, which is one of its own here. Without --foreground timeout sends two, and a
# second one is not waited for.
leave_nothing() {
	unshare -m sh -c 'mount -t tmpfs none /dev/shm && CASES=1000000 timeout --foreground 0.5 "$0"
		[ $? = 124 ] && [ -z "$(ls /dev/shm)" ]' "$B/test_random"
}
if unshare -m true 2>/dev/null; then
	step "random: a signal" leave_nothing
else
	skip "random: a signal" "needs a mount namespace"
fi
