#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: sysroot.sh ARCH DIR   Fills DIR with what a static gptqfs is linked with: libfuse, PCRE2 and nettle of Debian's
# development packages for ARCH, unpacked, not installed; and cJSON, of which Debian has no static library, compiled from
# Debian's source package, whose files must have the hashes in cjson.sha256. DIR/pkgconfig describes all four.
#
# Without a network, put the files it asks for into $SOURCES.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
arch=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
sources=${SOURCES:-$dir/sources}
mkdir -p "$sources"

say() {
	echo "sysroot.sh: $*" >&2
}

# apt ARGUMENT...: apt-get for ARCH. Lists of another architecture are kept in DIR, so that the system need not know it.
apt() {
	local options=(-o APT::Sandbox::User=root)

	if [ "$arch" != "$(dpkg --print-architecture)" ]; then
		mkdir -p "$dir/lists/partial"
		options+=(-o APT::Architecture="$arch" -o APT::Architectures="$arch" -o Dir::State::Lists="$dir/lists"
			-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
	fi
	apt-get -qq "${options[@]}" "$@"
}

unpack_packages() {
	local package file

	for package in libfuse3-dev libpcre2-dev nettle-dev; do
		set -- "$sources/${package}_"*"_$arch.deb"
		if [ ! -e "$1" ]; then
			[ -z "${lists_wanted:-}" ] || { apt update && lists_wanted=; }
			(cd "$sources" && apt download "$package:$arch") || {
				say "no $package for $arch; where there is no network, put ${package}_VERSION_$arch.deb into $sources"
				exit 1
			}
			set -- "$sources/${package}_"*"_$arch.deb"
		fi
		file=$1
		dpkg-deb --extract "$file" "$dir"
		dpkg-deb --show --showformat='${source:Package} ${source:Version}\n' "$file" >"$dir/usr/share/doc/$package/source"
	done
}

# The source package lies beside its binary packages in the archive.
fetch_cjson() {
	local place file hash

	place=$(apt-get download --print-uris libcjson-dev | sed "s|^'\(.*\)/[^/]*'.*|\1|")
	while read -r hash file; do
		[ -e "$sources/$file" ] || /usr/lib/apt/apt-helper -qq -o APT::Sandbox::User=root download-file "$place/$file" "$sources/$file" "SHA256:$hash" || {
			say "the archive has no $file of this hash. Where there is no network, put it into $sources;"
			say "where Debian has a newer cJSON, update contrib/packaging/cjson.sha256"
			exit 1
		}
	done <"$here/cjson.sha256"
	(cd "$sources" && sha256sum --quiet --check "$here/cjson.sha256")
}

compile_cjson() {
	local build=$dir/cjson version triplet patch

	version=$(sed -n 's/.*cjson_\(.*\)\.orig.*/\1/p' "$here/cjson.sha256")
	rm -rf "$build"
	mkdir -p "$build" "$dir/usr/include/cjson" "$dir/usr/share/doc/cjson"
	tar -xf "$sources/cjson_$version.orig.tar.gz" -C "$build" --strip-components=1
	tar -xf "$sources/cjson_$version"-*.debian.tar.xz -C "$build"
	while read -r patch; do
		patch -d "$build" -p1 --silent <"$build/debian/patches/$patch"
	done < <(sed '/^#/d; /^$/d' "$build/debian/patches/series")
	(cd "$build" && $CC -O2 -g -std=gnu99 -fPIE -fstack-protector-strong -D_FORTIFY_SOURCE=2 -ffile-prefix-map="$build=cjson" \
		-c cJSON.c && $AR qcsD libcjson.a cJSON.o)
	triplet=$($CC -print-multiarch)
	cp "$build/libcjson.a" "$dir/usr/lib/${triplet:-$($CC -dumpmachine)}/"
	cp "$build/cJSON.h" "$dir/usr/include/cjson/"
	cp "$build/debian/copyright" "$dir/usr/share/doc/cjson/"
	sed -n '1s/\(.*\) (\(.*\)).*/\1 \2/p' "$build/debian/changelog" >"$dir/usr/share/doc/cjson/source"
	mkdir -p "$dir/pkgconfig"
	cp "$dir"/usr/lib/*/pkgconfig/{fuse3,libpcre2-8,nettle}.pc "$dir/pkgconfig/"
	cat >"$dir/pkgconfig/libcjson.pc" <<END
Name: libcjson
Description: cJSON, static
Version: $version
Libs: -L/usr/lib/${triplet:-$($CC -dumpmachine)} -lcjson
Cflags: -I/usr/include
END
}

[ "$arch" = "$(dpkg --print-architecture)" ] || lists_wanted=1
unpack_packages
fetch_cjson
compile_cjson
