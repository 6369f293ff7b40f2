#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# make check-packages: in fresh Debians, as root, with a network: builds the packages with nothing but their build
# dependencies, runs lintian on them, then installs, uses and purges them in a system without any of these. The static
# program and the wheel are used where nothing is installed. Takes about ten minutes for each Debian.
#
#   SUITES="bookworm"   the Debians (bookworm trixie)     MIRROR=URL   for debootstrap
#   B=DIR               build directory; a Debian that is in $B/roots is used again
#   JOBS=N              compilers at a time
set -euo pipefail
cd "$(dirname "$0")/../.."
B=$(realpath "${B:-build}")
SUITES=${SUITES:-bookworm trixie}
source=$PWD/tests/data/models/tiny-llama-4b-g32-shard
expected=$PWD/tests/data/expected/tiny-llama-4b-g32-shard
version=$(sed -n 's/^.define GPTQFS_VERSION "\(.*\)"$/\1/p' core/gptqfs.h)
machine=$(uname -m)
static=$B/release/gptqfs-$version-linux-$machine
epoch=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y contrib/CHANGELOG.md)
passed=0
failed=0

[ "$(id -u)" = 0 ] || {
	echo "install.sh: needs root, for debootstrap and chroot" >&2
	exit 1
}

check() {
	local name=$1 status=0

	shift
	# Not "$@" || status=$?, within which the shell would ignore errors.
	"$@" >"$B/packages.log" 2>&1 &
	wait $! || status=$?
	if [ "$status" = 0 ]; then
		passed=$((passed + 1))
		echo "ok      $name"
	else
		failed=$((failed + 1))
		echo "FAILED  $name"
		tail -40 "$B/packages.log" | sed 's/^/        /'
	fi
}

# bootstrap SUITE: $B/roots/SUITE, made once.
bootstrap() {
	local root=$B/roots/$1

	[ ! -d "$root" ] || return 0
	mkdir -p "$B/roots"
	rm -rf "$root.part"
	debootstrap --variant=minbase "$1" "$root.part" ${MIRROR:-} && mv "$root.part" "$root"
}

# inside SUITE SCRIPT: runs it there with $exchange as /exchange and /dev/fuse. What it changes is lost.
inside() {
	exchange=$exchange source=$source unshare -m -p -f --kill-child bash -euc '
		upper=$(mktemp -d)
		mount -t tmpfs none "$upper"
		mkdir "$upper/up" "$upper/work" "$upper/root"
		mount -t overlay -o "lowerdir=$1,upperdir=$upper/up,workdir=$upper/work" overlay "$upper/root"
		cd "$upper/root"
		mount -t proc proc proc
		mount -t tmpfs none dev
		for node in null zero random urandom tty; do touch "dev/$node" && mount --bind "/dev/$node" "dev/$node"; done
		mknod -m 666 dev/fuse c 10 229
		ln -s /proc/self/fd dev/fd
		ln -sf /proc/self/mounts etc/mtab # without it fusermount3 unmounts nothing
		mount --rbind /sys sys
		mkdir -p exchange models/tiny mnt/tiny
		mount --bind "$exchange" exchange
		mount --bind "$source" models/tiny
		cp /etc/resolv.conf etc/ 2>/dev/null || true
		exec chroot . /usr/bin/env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive HOME=/root \
			bash -euxc "$2"' inside "$B/roots/$1" "$2"
}

# copied: what the script copied to /exchange/VIEW is right, by hashes of independent decoders.
copied() {
	python3 -S tests/tools/compare.py "$exchange/$1" "$expected.$2.json"
	rm -rf "${exchange:?}/$1"
}

build='
	apt-get -qq update
	apt-get -qq install -y --no-install-recommends build-essential lintian >/dev/null
	tar -xf /exchange/sources.tar.xz -C /root
	mkdir /root/needs
	cp -r /root/gptqfs-'$version'/contrib/packaging/debian /root/needs
	apt-get -qq build-dep -y --no-install-recommends /root/needs >/dev/null
	JOBS='${JOBS:-$(nproc)}' SOURCE_DATE_EPOCH='$epoch' bash /root/gptqfs-'$version'/contrib/packaging/deb.sh '$version' /exchange/sources.tar.xz /exchange/deb
	lintian --allow-root --fail-on error,warning /exchange/deb/*.changes'
install='
	list() { find / -xdev -path /var/lib/apt -prune -o -path /var/cache -prune -o -path /var/log -prune -o -path /var/lib/dpkg -prune \
		-o -path /exchange -prune -o -path /tmp -prune -o -print | sort; }
	apt-get -qq update
	apt-get -qq install -y --no-install-recommends fuse3 >/dev/null # stays after purge
	list >/tmp/before
	cp /exchange/deb/gptqfs_*_*.deb /tmp
	apt-get -qq install -y --no-install-recommends /tmp/gptqfs_*.deb
	gptqfs --version
	for file in share/man/man1/gptqfs.1.gz lib/systemd/system/gptqfs@.service share/bash-completion/completions/gptqfs \
		share/doc/gptqfs/examples/recipes/README.md share/doc/gptqfs/copyright; do
		test -e /usr/$file
	done
	if ldd /usr/bin/gptqfs | grep "not found"; then exit 1; fi
	gptqfs /models/tiny /mnt/tiny
	cp -r /mnt/tiny/bf16 /exchange/bf16
	gptqfs -u /mnt/tiny
	mount -t gptqfs -o view=fp16 /models/tiny /mnt/tiny
	cp -r /mnt/tiny /exchange/fp16
	umount /mnt/tiny
	useradd -m user
	su user -c "mkdir ~/mnt && gptqfs -o view=fp32 /models/tiny ~/mnt -- cp -r /home/user/mnt /home/user/copy"
	cp -r /home/user/copy /exchange/fp32
	userdel -r user
	apt-get -qq purge -y gptqfs
	test ! -e /usr/bin/gptqfs
	list | grep -v "^/etc/\(passwd\|group\|shadow\|gshadow\|subuid\|subgid\)-$" >/tmp/after
	diff /tmp/before /tmp/after | grep gptqfs && exit 1 || true'
bare='
	if command -v fusermount3; then exit 1; fi
	cp /exchange/gptqfs /usr/local/bin
	gptqfs -o view=bf16 /models/tiny /mnt/tiny -- cp -r /mnt/tiny /exchange/bf16
	gptqfs --licenses | grep -q "GNU LESSER GENERAL PUBLIC LICENSE"
	mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3
	gptqfs -o view=bf16 /models/tiny /mnt/tiny 2>/tmp/why && exit 1 || test $? = 4
	gptqfs --quiet --export=/exchange/fp16 -o view=fp16 /models/tiny'

use_wheel() {
	rm -rf "$B/packages.venv"
	python3 -m venv "$B/packages.venv"
	"$B/packages.venv/bin/pip" install -q --disable-pip-version-check --no-index "$wheel"
	(cd "$B" && env -i PATH="$PATH" "$B/packages.venv/bin/python" -c '
import gptqfs, shutil, sys
assert gptqfs.program().startswith(sys.prefix), gptqfs.program()
with gptqfs.mount(sys.argv[1], view="bf16") as path:
    shutil.copytree(path, sys.argv[2])' "$source" "$exchange/bf16")
	[ "$("$B/packages.venv/bin/gptqfs" --version)" = "$("$static" --version)" ]
	copied bf16 BF16
}

# image VIEW COMMAND...: runs the program in a directory with nothing else, as in the container of contrib/container, and
# leaves what it wrote or mounted in $exchange/VIEW.
image() {
	exchange=$exchange source=$source program=$static view=$1 unshare -m -p -f --kill-child bash -euc '
		root=$(mktemp -d)
		mount -t tmpfs none "$root"
		cd "$root"
		cp "$program" gptqfs
		mkdir -p proc dev model mnt models/tiny
		touch dev/null
		mount --bind /dev/null dev/null
		chown 1000 model
		mount -t proc proc proc
		mount --bind "$source" models/tiny
		eval "$1"' image "$2"
}
image_exports='
	chroot --userspec=1000:1000 . /gptqfs --export=/model -o view=bf16 /models/tiny
	cp -r model "$exchange/$view"'
image_mounts='
	mknod -m 666 dev/fuse c 10 229
	chroot . /gptqfs -f -o allow_other,view=fp32 /models/tiny /mnt &
	for i in $(seq 100); do test -e mnt/config.json && break || sleep 0.1; done
	cp -r mnt "$exchange/$view"
	kill %1
	wait'

make -s static wheel
wheel=$(echo "$B/release/gptqfs-$version-"*"$machine.whl")
exchange=$(mktemp -d "$B/packages.XXXXXX")
trap 'rm -rf "$exchange"' EXIT
cp "$static" "$exchange/gptqfs"
SOURCE_DATE_EPOCH=$epoch contrib/packaging/sources.sh "gptqfs-$version" "$exchange/sources.tar.xz"
check "the wheel, in a virtual environment" use_wheel
check "a container with only the program exports, as a user" image bf16 "$image_exports"
check "... and what it wrote is right" copied bf16 BF16
check "a container with only the program mounts" image fp32 "$image_mounts"
check "... and what it shows is right" copied fp32 F32
for suite in $SUITES; do
	check "$suite: debootstrap" bootstrap "$suite"
	check "$suite: the static program mounts and exports" inside "$suite" "$bare"
	check "$suite: ... and what it wrote is right" copied bf16 BF16
	check "$suite: ... and what it wrote is right" copied fp16 F16
	rm -rf "$exchange/deb"
	check "$suite: the packages build, and lintian finds nothing" inside "$suite" "$build"
	check "$suite: install, use, purge" inside "$suite" "$install"
	for view in bf16 fp16 fp32; do
		type=${view^^}
		check "$suite: ... and $view is right" copied $view "${type/FP/F}"
	done
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
