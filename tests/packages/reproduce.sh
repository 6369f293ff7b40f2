#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# make check-release: builds everything twice, in directories of other names and with another umask, and compares.
#
#   TARGETS="static wheel"   instead of release     NVCC=   without the CUDA plugin
set -euo pipefail
cd "$(dirname "$0")/../.."
B=$(realpath "${B:-build}")
TARGETS=${TARGETS:-release}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || stat -c %Y contrib/CHANGELOG.md)}
export SOURCE_DATE_EPOCH
export CCACHE_DISABLE=1 # else the second build would be a copy of the first
work=$B/reproduce
rm -rf "$work" && mkdir -p "$work"

# build DIRECTORY UMASK: the targets, from a copy of the sources.
build() {
	(
		umask "$2"
		mkdir -p "$work/$1"
		contrib/packaging/sources.sh sources "$work/$1/sources.tar.xz"
		tar -xf "$work/$1/sources.tar.xz" -C "$work/$1"
		env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS -u B -u CCACHE_BASEDIR make -s -j"$(nproc)" -C "$work/$1/sources" \
			${NVCC+NVCC="$NVCC"} $TARGETS
		cd "$work/$1/sources/build/release"
		rm -f SHA256SUMS
		sha256sum -- *
	)
}

build one 022 >"$work.one"
build the/other/one 027 >"$work.other"
if diff "$work.one" "$work.other"; then
	echo "$(wc -l <"$work.one") passed, 0 failed"
	rm -rf "$work"
else
	echo "0 passed, 1 failed"
	exit 1
fi
