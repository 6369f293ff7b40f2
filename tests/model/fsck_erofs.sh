#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# The EROFS image of a model, examined and extracted by erofs-utils: the files are those that gptqfs --cat reads,
# except info, in which a process tells what confines it.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0

"$B/test_erofs" -m -o "$work/image" "$1" >/dev/null
fsck.erofs "$work/image"
fsck.erofs --extract="$work/files" "$work/image"
cd "$work/files"
while read -r file; do
	"$OLDPWD/$GPTQFS" --cat="$file" "$1" | cmp - "$file"
	passed=$((passed + 1))
done < <(find . -type f -size +0 ! -path './info*' -printf '%P\n' | shuf -n 40)
echo "$passed passed, 0 failed"
