#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# A few seconds of each test; make soak runs them for long.
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

# Sanitizers need more memory than the limit.
memory=64
[ -z "$SAN" ] || memory=0
step "soak: mounts" tests/soak/mounts.py --cycles=20 "$GPTQFS"
step "soak: readers" tests/soak/readers.py --minutes=0.05 --large=0 --memory=$memory "$GPTQFS"
step "soak: signals" tests/soak/signals.py --rounds=2 "$GPTQFS"
step "soak: exports" tests/soak/exports.py --rounds=6 "$GPTQFS"
step "soak: differences" tests/soak/differential.py --models=6 --build="$B" "$GPTQFS"

# Of run.sh: a test whose interpreter does not even start has not passed.
tell_crash() {
	! PYTHONHOME=/nowhere SOAK_SCALE=1 SOAK_OUT=$steps_dir/soak tests/soak/run.sh changes
}
step "soak: a test that crashes" tell_crash
