#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# usage: licenses.sh ARCH SYSROOT   Prints what gptqfs --licenses prints where it is linked statically: what is in the
# program, and the texts that have to go with it.
set -euo pipefail
arch=$1
docs=$2/usr/share/doc
# The C library comes with the compiler.
libc=libc6-dev
[ "$arch" = "$(dpkg --print-architecture)" ] || libc=libc6-dev-$arch-cross

heading() {
	printf '\n%s\n%s\n\n' "$1" "${1//?/=}"
}

heading "gptqfs"
cat LICENSE
cat <<END

This program is linked statically with the libraries below, of Debian, whose source packages are named. All of gptqfs is
free software, so it can be linked again with other versions of them: make static.
END
heading "libfuse, source package $(<"$docs/libfuse3-dev/source")"
cat "$docs/libfuse3-dev/copyright"
heading "nettle, source package $(<"$docs/nettle-dev/source")"
cat "$docs/nettle-dev/copyright"
heading "PCRE2, source package $(<"$docs/libpcre2-dev/source")"
cat "$docs/libpcre2-dev/copyright"
heading "cJSON, source package $(<"$docs/cjson/source")"
cat "$docs/cjson/copyright"
heading "The GNU C Library, source package $(dpkg-query -W -f '${source:Package} ${source:Version}' $libc)"
cat "/usr/share/doc/$libc/copyright"
heading "libgcc, source package $(dpkg-query -W -f '${source:Package} ${source:Version}' libgcc-s1)"
cat /usr/share/doc/libgcc-s1/copyright
for text in LGPL-2.1 LGPL-3 GPL-3; do
	heading "$text"
	cat "/usr/share/common-licenses/$text"
done
