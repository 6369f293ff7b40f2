#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# ptx.sh NVCC ARCH PTX LOG: compiles PTX for sm_ARCH to see what becomes of it. Prints one line; the rest is in LOG.
# Fails if a kernel spills registers, does not load or store 16 bytes at a time, or does arithmetic that rounds
# differently from a plain fp32 multiplication.
set -euo pipefail
ptxas=$(dirname "$1")/ptxas
[ -x "$ptxas" ] || ptxas=ptxas
arch=$2 ptx=$3 log=$4
"$ptxas" -v -arch="sm_$arch" -o /dev/null "$ptx" >"$log" 2>&1 || { cat "$log" && exit 1; }

# KERNEL: registers, bytes of spills; then vector loads and stores.
awk -v arch="$arch" '
	FNR == 1 { file++ }
	file == 1 && /Compiling entry function/ { split($0, part, "\x27"); name = part[2] }
	file == 1 && /bytes spill stores/ { for (i = 3; i <= NF; i++) if ($i == "spill") spills[name] += $(i - 2) }
	file == 1 && /: Used [0-9]+ registers/ { for (i = 1; i <= NF; i++) if ($i == "Used") registers[name] = $(i + 1) }
	file == 2 && /\.entry/ { match($0, /\.entry [a-z0-9_]+/); name = substr($0, RSTART + 7, RLENGTH - 7) }
	file == 2 && /ld\.global[a-z.]*\.v4/ { loads[name]++ }
	file == 2 && /st\.global[a-z.]*\.v4/ { stores[name]++ }
	file == 2 && /fma\.|\.ftz|\.approx|mad\.f|\.f16|\.f64/ { print "sm_" arch ": " name ": " $0; bad++ }
	END {
		for (name in registers) {
			kernels++
			most = registers[name] > most ? registers[name] : most
			spilled += spills[name]
			vectors += loads[name] + stores[name]
			if (spills[name] > 0) { print "sm_" arch ": " name " spills " spills[name] " bytes"; bad++ }
			if (name ~ /^dequant_/ && (!loads[name] || !stores[name])) {
				print "sm_" arch ": " name " does not load and store 16 bytes at a time"; bad++
			}
		}
		printf "  sm_%-4s %d kernels, at most %d registers, %d bytes spilled, %d vector loads and stores\n", arch, kernels, \
			most, spilled, vectors
		exit bad > 0 || kernels != 25
	}' "$log" "$ptx"
