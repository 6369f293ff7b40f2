#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: deb.sh VERSION SOURCES.tar.xz DIR   Builds Debian's packages in DIR, in a copy of the sources whose debian/ is
# contrib/packaging/debian and a changelog. NVCC names the compiler for the package with the CUDA plugin, if there is one.
set -euo pipefail
version=$1
dir=$3
rm -rf "$dir"
mkdir -p "$dir"
cp "$2" "$dir/gptqfs_$version.orig.tar.xz"
cd "$dir"
tar -xf "gptqfs_$version.orig.tar.xz"
cd "gptqfs-$version"
cp -r contrib/packaging/debian .
maintainer=$(sed -n 's/^Maintainer: //p' debian/control)
cat >debian/changelog <<END
gptqfs ($version-1) unstable; urgency=medium

  * The changes of each version are in /usr/share/doc/gptqfs/changelog.gz.

 -- $maintainer  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")
END
# Variables and flags of the make that runs this are not for debian/rules: with B=DIR it would build elsewhere.
unset MAKEFLAGS MAKEOVERRIDES MAKELEVEL MFLAGS B
dpkg-buildpackage -us -uc ${NVCC:+-Ppkg.gptqfs.cuda} --jobs-try="${JOBS:-$(nproc)}" >../log 2>&1 || {
	tail -40 ../log
	echo "deb.sh: the whole log is $dir/log" >&2
	exit 1
}
