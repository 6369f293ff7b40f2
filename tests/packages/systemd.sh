#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# make check-systemd: boots a Debian with systemd in namespaces, as root, with what make install puts there, and has it
# start, stop and restart the service, survive kills of its processes, and mount by a mount unit. Takes two minutes,
# and a network the first time.
#
#   SUITE=bookworm      the Debian     MIRROR=URL   for debootstrap
#   B=DIR               build directory; a Debian that is in $B/roots is used again
set -euo pipefail
cd "$(dirname "$0")/../.."
B=$(realpath "${B:-build}")
SUITE=${SUITE:-bookworm}
root=$B/roots/$SUITE-systemd
source=$PWD/tests/data/models/tiny-llama-4b-g32-shard

[ "$(id -u)" = 0 ] || {
	echo "systemd.sh: needs root, for debootstrap and namespaces" >&2
	exit 1
}
if [ ! -d "$root" ]; then
	mkdir -p "$B/roots"
	rm -rf "$root.part"
	debootstrap --variant=minbase --include=systemd-sysv,dbus,fuse3,procps,libcjson1,libpcre2-8-0 \
		"$SUITE" "$root.part" ${MIRROR:-} >"$B/systemd.log"
	mv "$root.part" "$root"
fi

work=$(mktemp -d)
group=$(findmnt -nt cgroup2 -o TARGET | head -n 1)/gptqfs-systemd-$$
boot=
finish() {
	# The first process of a namespace takes all others with it.
	[ -z "$boot" ] || kill -KILL "$(first_process)" || true
	wait || true
	find "$group" -depth -type d -exec rmdir {} + || true
	rm -rf --one-file-system "$work"
}
trap finish EXIT
trap 'exit 1' INT TERM

mkdir "$work/installed" "$work/up" "$group"
make -s B="$B" install PREFIX=/usr DESTDIR="$work/installed"
export root work source group
unshare -m -p -i -u -f bash -euc '
	echo $$ >"$group/cgroup.procs"
	exec unshare -C bash -euc "
		mount -t tmpfs none \"\$work/up\"
		cd \"\$work/up\"
		mkdir up work root
		mount -t overlay -o \"lowerdir=\$root,upperdir=\$PWD/up,workdir=\$PWD/work\" overlay root
		cd root
		cp -a \"\$work/installed/usr/.\" usr
		mkdir -p models mnt/tiny mnt/llama etc/gptqfs
		cp -rL \"\$source\" models/tiny
		cp -r models/tiny models/Llama-gptq
		cp usr/share/doc/gptqfs/examples/mnt-llama.mount etc/systemd/system
		mount -t proc proc proc
		mount -t sysfs sysfs sys
		mount -t cgroup2 none sys/fs/cgroup
		mount -t tmpfs -o mode=755,dev none dev
		for node in null zero full random urandom tty fuse; do
			mknod -m 666 dev/\$node c \$(stat -c \"0x%t 0x%T\" /dev/\$node)
		done
		mkdir dev/pts dev/shm
		mount -t devpts -o newinstance,ptmxmode=666 none dev/pts
		ln -s pts/ptmx dev/ptmx
		ln -s /proc/self/fd dev/fd
		mount -t tmpfs none run
		hostname gptqfs
		exec env -i container=gptqfs PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot . /sbin/init
	"' >"$B/systemd.log" 2>&1 </dev/null &
boot=$!

first_process() {
	tr -d ' ' <"/proc/$boot/task/$boot/children"
}

# inside COMMAND...: there.
inside() {
	nsenter -t "$(first_process)" -m -p -i -u -C -r -w \
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

for ((i = 0; i < 100; i++)); do
	state=$(inside systemctl is-system-running </dev/null 2>&1) || true
	[[ $state != running && $state != degraded ]] || break
	sleep 0.3
done
[[ $state = running ]] || {
	echo "systemd.sh: systemd is not running: ${state:-not started}; see $B/systemd.log" >&2
	exit 1
}
inside bash -s <tests/packages/systemd_life.sh
