#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Checks includes: the folders of core/ by the table below; fs/ and cuda/ may include only one header of core/ each.
# Circular includes are refused. Each header must compile alone. A static function has a name of its own in core/, or
# one that begins with its file's.
set -euo pipefail
cd "$(dirname "$0")/.."

# A folder may include itself and these. Files directly in core/ may include all folders.
declare -A allowed=(
	[base]=""
	[file]="base"
	[kernel]="base"
	[tree]="base file"
	[checkpoint]="base file"
	[read]="base file tree"
	[tensor]="base file kernel tree checkpoint"
	[lora]="base file kernel tree checkpoint tensor"
	[quant]="base file kernel tree checkpoint tensor"
	[view]="base file kernel tree checkpoint tensor lora quant"
	[report]="base file kernel tree checkpoint tensor lora quant view"
)
passed=0
failed=0

complain() {
	echo "$1"
	failed=$((failed + 1))
}

# Includes of a file in quotes.
includes() {
	sed -n 's/^#include "\([^"]*\)"$/\1/p' "$1"
}

for file in core/*/*.[ch] core/*/*/*.[ch]; do
	folder=${file#core/}
	folder=${folder%%/*}
	[ -v "allowed[$folder]" ] || complain "$file: tests/includes.sh has no row for core/$folder"
	for header in $(includes "$file"); do
		other=${header%%/*}
		if [ "$header" = gptqfs.h ] || [ "$other" = "$folder" ] || [[ " ${allowed[$folder]:-} " = *" $other "* ]]; then
			passed=$((passed + 1))
		else
			complain "$file includes $header, which core/$folder may not know"
		fi
	done
done
# No cycles among units (x.c and x.h are one): tsort prints the files of each cycle.
units() {
	local file header

	for file in core/*.[ch] core/*/*.[ch] core/*/*/*.[ch]; do
		for header in $(includes "$file"); do
			[ "$header" = gptqfs.h ] || [ "core/${header%.h}" = "${file%.*}" ] || echo "${file%.*} core/${header%.h}"
		done
	done
}
if circles=$(units | tsort 2>&1 >/dev/null); then
	passed=$((passed + 1))
else
	complain "files that include each other: $circles"
fi
if circles=$(for file in fs/*.[ch] fs/*/*.[ch]; do
	for header in $(includes "$file"); do
		[ "$header" = gptqfs.h ] || [ "fs/${header%.h}" = "${file%.*}" ] || echo "${file%.*} fs/${header%.h}"
	done
done | tsort 2>&1 >/dev/null); then
	passed=$((passed + 1))
else
	complain "files that include each other: $circles"
fi
for file in fs/*.[ch] fs/*/*.[ch]; do
	for header in $(includes "$file"); do
		if [ -e "fs/$header" ] || [ "$header" = gptqfs.h ]; then
			passed=$((passed + 1))
		else
			complain "$file includes $header (of core/, only gptqfs.h may be included from fs/)"
		fi
	done
done
while IFS=: read -r file header; do
	if [ -e "cuda/$header" ] || [ "$header" = kernel/plugin.h ]; then
		passed=$((passed + 1))
	else
		complain "$file includes $header (of core/, only kernel/plugin.h may be included from cuda/)"
	fi
done < <(grep -H '^#include "[a-z]' cuda/*.[ch] cuda/*.cu | sed 's/#include "\(.*\)"/\1/')
while IFS=: read -r file _; do
	complain "$file: only cuda/ may know CUDA"
done < <(grep -rHE '#include.*cuda|libcuda|\<cu[A-Z][a-z]+[A-Z]' core fs || true)
while IFS=: read -r file _; do
	[ "$file" = core/base/json.c ] || complain "$file: only core/base/json.c may include cJSON.h"
done < <(grep -rH 'cJSON\.h' core fs || true)
while IFS=: read -r file _; do
	[ "$file" = core/base/pattern.c ] || complain "$file: only core/base/pattern.c may include pcre2.h"
done < <(grep -rH 'pcre2\.h' core fs || true)
while IFS=: read -r file _; do
	complain "$file: core/ must not know FUSE"
done < <(grep -rH '#include <fuse' core || true)
for header in core/*.h core/*/*.h core/*/*/*.h fs/*.h fs/*/*.h cuda/*.h; do
	case $header in # templates
	*/gptq_strip*.h | */gptq_shuffles.h | */affine_rows.h | */fp8_blocks.h | */bnb_runs.h | */fp4_groups.h) continue ;;
	*/gguf_strips.h | */kernel/lora/lora_*.h | */awq_tiles.h | */hqq_groups.h) continue ;;
	esac
	if ${CC:-gcc} -std=gnu11 -D_GNU_SOURCE -Icore -Ifs $(pkg-config --cflags fuse3) \
		-fsyntax-only -x c "$header" 2>/dev/null; then
		passed=$((passed + 1))
	else
		complain "$header does not compile alone"
	fi
done
if twice=$(grep -roE '^static [a-z_0-9 ]+[ *][a-z_0-9]+\(' core --include='*.[ch]' |
	sed -E 's|^(.*/([a-z0-9]+)[a-z_0-9]*\.[ch]):.*[ *]([a-z_0-9]+)\($|\3 \2 \1|' | sort -u |
	awk 'index($1, $2) != 1 { files[$1] = files[$1] " " $3; n[$1]++ }
		END { for (name in n) if (n[name] > 1) print name ":" files[name] }' |
	grep .); then
	complain "static functions of one name: $twice"
else
	passed=$((passed + 1))
fi
if python3 core/kernel/gptq/gptq_shuffles.py | cmp -s - core/kernel/gptq/gptq_shuffles.h; then
	passed=$((passed + 1))
else
	complain "core/kernel/gptq/gptq_shuffles.h is not what gptq_shuffles.py writes"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
