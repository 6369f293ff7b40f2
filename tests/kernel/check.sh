#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

step "kernels" "$B/check_kernel"
if [ -n "${QEMU_NEON:-}" ]; then
	# FP8 has no kernel for NEON yet: its reference would only be held to itself, slowly.
	step "kernels neon, under qemu" env QEMU_LD_PREFIX=/usr/aarch64-linux-gnu "$QEMU_NEON" "$B/neon/check_kernel" cast gptq
elif [ -z "$SAN" ] && [ "$(uname -m)" != aarch64 ]; then
	skip "kernels neon" "no cross compiler or no qemu-user (make deps-neon)"
fi
