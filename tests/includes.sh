#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Who may include whom: arrows point one way; fs/ knows of core/ nothing but gptqfs.h, cuda/ nothing but accel.h. Each
# header compiles alone.
set -euo pipefail
cd "$(dirname "$0")/.."

# Lower layers first. A file includes its own layer's headers where listed together, and those of layers before it.
layers=(
	"checked half dtype gptqfs arena text cpu"
	"escape npy sheet err cast dequant dequant_impl dequant_strip json buffer cache pack"
	"accel accel_impl"
	"zeros architecture foreign"
	"overrides"
	"safetensors config quant_config index source_file span listing"
	"checkpoint"
	"source join"
	"totals"
	"generator layout tree"
	"dense packed shards pager"
	"reader tensor_info"
	"ahead"
	"view report"
	"facts"
	"model hashes"
)
failed=0
passed=0

rank_of() {
	local i
	for i in "${!layers[@]}"; do
		case " ${layers[$i]} " in *" $1 "*) echo "$i" && return ;; esac
	done
	# source_gptq is of the layer of source, view_dense of that of view, dequant_avx2 of that of dequant.
	case $1 in *_*) rank_of "${1%_*}" ;; *) echo none ;; esac
}

complain() {
	echo "$1"
	failed=$((failed + 1))
}

for file in core/*.[ch]; do
	own=$(basename "${file%.*}")
	rank=$(rank_of "$own")
	[ "$rank" != none ] || complain "$file: in no layer of tests/includes.sh"
	while read -r header; do
		other=$(rank_of "$header")
		if [ "$other" = none ]; then
			complain "$file includes $header.h, which is in no layer"
		elif [ "$rank" != none ] && [ "$other" -gt "$rank" ]; then
			complain "$file includes $header.h of a higher layer"
		else
			passed=$((passed + 1))
		fi
	done < <(sed -n 's/^#include "\([^"]*\)\.h"$/\1/p' "$file")
done
while IFS=: read -r file include; do
	complain "$file: $include (only core/gptqfs.h may be included from fs/)"
done < <(grep -H '^#include "\.\./\|^#include "core/' fs/*.[ch] | grep -v '"\.\./core/gptqfs\.h"' || true)
while IFS=: read -r file header; do
	[ -e "fs/$header" ] || complain "$file includes $header, which is not in fs/"
done < <(grep -H '^#include "[a-z]' fs/*.[ch] | sed 's/#include "\(.*\)"/\1/')
# The plugin knows its interface, and itself.
while IFS=: read -r file header; do
	if [ -e "cuda/$header" ] || [ "$header" = accel.h ]; then
		passed=$((passed + 1))
	else
		complain "$file includes $header (of core/, only accel.h may be included from cuda/)"
	fi
done < <(grep -H '^#include "[a-z]' cuda/*.[ch] cuda/*.cu | sed 's/#include "\(.*\)"/\1/')
while IFS=: read -r file _; do
	complain "$file: only cuda/ may know CUDA"
done < <(grep -HE '#include.*cuda|libcuda|\<cu[A-Z][a-z]+[A-Z]' core/*.[ch] fs/*.[ch] || true)
while IFS=: read -r file _; do
	[ "$file" = core/json.c ] || complain "$file: only core/json.c may include cJSON.h"
done < <(grep -H 'cJSON\.h' core/*.[ch] fs/*.[ch] || true)
while IFS=: read -r file _; do
	complain "$file: core/ must not know FUSE"
done < <(grep -H '#include <fuse' core/*.[ch] || true)
for header in core/*.h fs/*.h cuda/*.h; do
	case $header in core/dequant_strip.h) continue ;; esac # a template
	if ${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -Icore $(pkg-config --cflags fuse3) -fsyntax-only -x c "$header" 2>/dev/null; then
		passed=$((passed + 1))
	else
		complain "$header does not compile alone"
	fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
