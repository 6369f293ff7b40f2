#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# SHARE=PERCENT of the cases, instead of a default sample; make kernels runs all.
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

case $SAN in '') share=20 ;; *) share=10 ;; esac
step "kernels" "$B/check_kernel" --share="${SHARE:-$share}"
if [ -n "${QEMU_NEON:-}" ]; then
	step "kernels neon, under qemu" env QEMU_LD_PREFIX=/usr/aarch64-linux-gnu "$QEMU_NEON" "$B/neon/check_kernel" \
		--share="${SHARE:-2}"
elif [ -z "$SAN" ] && [ "$(uname -m)" != aarch64 ]; then
	skip "kernels neon" "no cross compiler or no qemu-user (make deps-neon)"
fi
