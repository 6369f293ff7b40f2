#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: sources.sh NAME FILE.tar.xz   Packs the sources as a directory NAME. The same sources make the same bytes.
set -euo pipefail
cd "$(dirname "$0")/../.."

# In a clone, all files that git does not ignore; elsewhere, all but the build directory.
list() {
	if [ -e .git ]; then
		git ls-files -z --cached --others --exclude-standard
	else
		find . -path ./build -prune -o ! -type d -printf '%P\0'
	fi | LC_ALL=C sort -z | while IFS= read -r -d '' file; do
		[ ! -e "$file" ] || printf '%s\0' "$file" # deleted, and git has not been told
	done
}

mkdir -p "$(dirname "$2")"
list | tar --create --null --no-recursion --files-from=- --transform="s|^|$1/|S" --owner=0 --group=0 --numeric-owner \
	--mode=u=rwX,go=rX --mtime="@$SOURCE_DATE_EPOCH" --format=gnu | xz -T1 -6 >"$2.part"
mv "$2.part" "$2"
