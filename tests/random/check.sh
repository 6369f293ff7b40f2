#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# CASES=N for more or fewer checkpoints, SEED=N to repeat an earlier run.
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

# About 20 seconds of one CPU.
case $SAN in '') cases=600 ;; *thread*) cases=100 ;; *) cases=200 ;; esac
step "random" env CASES="${CASES:-$cases}" "$B/test_random"
step "random families" env CASES="${CASES:-$((cases / 3))}" "$B/test_families"
