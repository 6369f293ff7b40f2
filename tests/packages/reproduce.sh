#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# make check-release: builds the release again, from a copy of the sources in a directory of another name, with another
# umask and without ccache, and compares with what make release made.
#
#   TARGETS="wheel"   instead of all, in this order: deb wheel wheel-arm64     NVCC=   without the CUDA plugin
#   JOBS=N            compilers at a time
set -euo pipefail
cd "$(dirname "$0")/../.."
B=$(realpath -m "${B:-build}")
TARGETS=${TARGETS:-deb wheel wheel-arm64}
export JOBS=${JOBS:-$(nproc)}
export SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y contrib/CHANGELOG.md)}
version=$(sed -n 's/^.define GPTQFS_VERSION "\(.*\)"$/\1/p' core/gptqfs.h)
work=$B/reproduce
copy=$work/the/other/gptqfs-$version
unset MAKEFLAGS MAKELEVEL MFLAGS
passed=0
failed=0

# compare FILE...: by names alone, of what is in both directories.
compare() {
	local file

	for file; do
		if cmp "$B/release/$file" "$copy/build/release/$file"; then
			passed=$((passed + 1))
			echo "ok      $file"
		else
			failed=$((failed + 1))
			echo "FAILED  $file"
		fi
	done
}

[ -e "$B/release/SHA256SUMS" ] || make -s -j"$JOBS" B="$B" ${NVCC+NVCC="$NVCC"} release
rm -rf "$work"
mkdir -p "$work/the/other"
contrib/packaging/sources.sh "gptqfs-$version" "$work/sources.tar.xz"
if ! cmp "$B/release/gptqfs-$version.tar.xz" "$work/sources.tar.xz"; then
	echo "reproduce.sh: $B/release was made from other sources: make release" >&2
	exit 1
fi
umask 027
tar -xf "$work/sources.tar.xz" -C "$work/the/other"
for target in $TARGETS; do
	env -u B -u CCACHE_BASEDIR CCACHE_DISABLE=1 make -s -j"$JOBS" -C "$copy" ${NVCC+NVCC="$NVCC"} "$target"
	# shellcheck disable=SC2046 # names of packages have no spaces
	compare $(cd "$copy/build/release" && find . -newer "$work/sources.tar.xz" -type f -printf '%P\n' | LC_ALL=C sort)
	touch "$work/sources.tar.xz"
done
echo "$passed passed, $failed failed"
# Nothing compared would be a faulty search for files, not a success.
[ "$failed" = 0 ] && [ "$passed" != 0 ] || exit 1
rm -rf "$work"
