#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The CUDA plugin without a GPU: its kernels, compiled for this CPU, must produce the right bytes, and mutants must not.
. "$(dirname "${BASH_SOURCE[0]}")/../steps.bash"

# caught PATTERN MUTANT: the checker fails and prints PATTERN.
caught() {
	local out

	out=$(LD_LIBRARY_PATH="$cuda/$2" "$B/check_kernel" --emulated --stop --accel="$cuda/gptqfs-cuda.so" 2>&1) && return 1
	grep -q "$1" <<<"$out" || { echo "$out" && return 1; }
}

case $SAN in '') share=15 ;; *) share=10 ;; esac
for cxx in g++ clang; do
	command -v "$cxx" >/dev/null || continue
	step "cuda kernels as C++ ($cxx)" "$cxx" -x c++ -std=c++17 -Wall -Wextra -Werror -Wno-unknown-pragmas \
		-Wno-unused-function -fsyntax-only -include tests/cuda/shim.h -Icuda cuda/dequant.cu
done
step "cuda kernels, emulated" env LD_LIBRARY_PATH="$cuda" "$B/check_kernel" --emulated --accel="$cuda/gptqfs-cuda.so" \
	--share="${SHARE:-$share}"
for mutant in tests/cuda/*.sed; do
	mutant=$(basename "$mutant" .sed)
	case $mutant,$SAN in
	one_beyond,*address*) step "cuda mutant $mutant" caught 'global-buffer-overflow' "$mutant" ;;
	one_beyond,*) ;; # its bytes are right
	*) step "cuda mutant $mutant" caught '^  FAILED: ' "$mutant" ;;
	esac
done
