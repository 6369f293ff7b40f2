#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# -o pagecache=erofs where libfuse has passthrough: EROFS behind a FUSE mount. pagecache.bats has what both kinds do.

load lib

setup() {
	mnt=$BATS_TEST_TMPDIR/mnt
	model=$BATS_TEST_TMPDIR/model
	watch_sanitizers
	[ "$(id -u)" = 0 ] || skip "needs root"
	version=$("$GPTQFS" --version | sed -n 's/.*libfuse \([0-9.]*\).*/\1/p')
	printf '3.17\n%s\n' "$version" | sort -CV || skip "libfuse $version has no passthrough"
	copy_model tiny-llama-4b-g32-shard
}

# mount_face OPTIONS: of $model; the test is skipped if the kernel cannot do it.
mount_face() {
	run "$GPTQFS" -o "pagecache=erofs$1" "$model" "$mnt" -- true
	((status != 4)) || skip "$output"
	mount_model -o "pagecache=erofs$1" "$model" "$mnt"
	has_face "$server"
}

unmount_face() {
	umount "$mnt"
	wait_until 20 is_gone "$server" || fail "the server did not leave"
}

served() {
	sed -n 's/^Bytes_served: *//p' "$mnt/status"
}

erofs_mounts() {
	find /sys/class/bdi -name 'erofs-*' | sort
}

@test "it is a FUSE mount, with status, late views and live attributes, whose files the page cache has once" {
	"$GPTQFS" --cat=fp16/model.safetensors "$model" >"$BATS_TEST_TMPDIR/copy"
	mount_face ,fsname=named
	[ "$(findmnt -no FSTYPE,SOURCE "$mnt" | tr -s ' ')" = "fuse.gptqfs named" ]
	run ! grep " $mnt .* erofs " /proc/self/mountinfo
	grep -q "^Page_cache: *EROFS's, below FUSE" "$mnt/info"
	first=$(served)
	cmp "$mnt/fp16/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	second=$(served)
	((second > first))
	for i in 1 2 3; do cmp "$mnt/fp16/model.safetensors" "$BATS_TEST_TMPDIR/copy"; done
	[ "$(served)" = "$second" ]
	python3 - "$mnt/fp16/model.safetensors" "$BATS_TEST_TMPDIR/copy" <<-'END'
		import mmap, sys
		files = [open(path) for path in sys.argv[1:]]
		seen, copy = (mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) for f in files)
		assert seen[:] == copy[:]
	END
	"$GPTQFS" --cat=gguf/model.gguf "$model" | cmp - "$mnt/gguf/model.gguf"
	[ "$(getfattr --only-values --absolute-names -n user.gptqfs.bytes_served "$mnt")" -gt "$second" ]
	unmount_face
}

@test "O_DIRECT, which EROFS cannot, is served by FUSE unless the file is open" {
	"$GPTQFS" --cat=fp16/model.safetensors "$model" >"$BATS_TEST_TMPDIR/copy"
	mount_face ""
	python3 - "$mnt/fp16/model.safetensors" "$BATS_TEST_TMPDIR/copy" <<-'END'
		import errno, mmap, os, sys
		path, copy = sys.argv[1], open(sys.argv[2], "rb").read()
		page = mmap.mmap(-1, 4096)

		def check(fd, direct):
		    if direct:
		        assert os.preadv(fd, [page], 0) == 4096 and page[:] == copy[:4096]
		    else:
		        assert os.pread(fd, len(copy), 0) == copy
		        assert mmap.mmap(fd, 0, prot=mmap.PROT_READ)[:] == copy

		direct = os.open(path, os.O_RDONLY | os.O_DIRECT)
		other = os.open(path, os.O_RDONLY)
		check(direct, True)
		check(other, False)
		os.close(direct)
		os.close(other)
		other = os.open(path, os.O_RDONLY)
		try:
		    os.open(path, os.O_RDONLY | os.O_DIRECT)
		    assert False, "opened"
		except OSError as e:
		    assert e.errno == errno.EINVAL, e
		check(other, False)
		os.close(other)
		# The kernel tells the server of a close after the program has gone on.
		for i in range(1000):
		    fd = os.open(path, os.O_RDONLY | (os.O_DIRECT if i % 2 else 0))
		    os.pread(fd, 1, 0) if not i % 2 else check(fd, True)
		    os.close(fd)
	END
	unmount_face
}

@test "it ends with the visible mount, whose users keep all of it" {
	"$GPTQFS" --cat=fp16/model.safetensors "$model" >"$BATS_TEST_TMPDIR/copy"
	before=$(erofs_mounts)
	mount_face ,view=fp16
	[ "$(erofs_mounts)" != "$before" ]
	python3 - "$mnt" "$BATS_TEST_TMPDIR/copy" <<-'END'
		import ctypes, mmap, os, subprocess, sys
		mnt, copy = sys.argv[1], open(sys.argv[2], "rb").read()
		libc = ctypes.CDLL(None)
		libc.mmap.restype = ctypes.c_void_p
		fd = os.open(mnt + "/model.safetensors", os.O_RDONLY)
		at = libc.mmap(None, len(copy), mmap.PROT_READ, mmap.MAP_PRIVATE, fd, 0)
		os.close(fd)
		assert subprocess.run(["umount", mnt], stderr=subprocess.DEVNULL).returncode != 0
		subprocess.run(["umount", "-l", mnt], check=True)
		assert ctypes.string_at(at, len(copy)) == copy
	END
	wait_until 20 is_gone "$server"
	mount_face ,view=fp16
	kill -TERM "$server"
	wait_until 20 not_mounted "$mnt"
	wait_until 20 is_gone "$server"
	mount_face ,view=fp16
	exec 9<"$mnt/model.safetensors"
	kill -KILL "$server"
	wait_until 20 not_mounted "$mnt"
	run ! cat <&9
	exec 9<&-
	mount_face ,view=fp16
	leave_stale "$mnt"
	run ! cat "$mnt/model.safetensors"
	run -0 "$GPTQFS" -u "$mnt"
	not_mounted "$mnt"
	# Others may have mounts of their own at the same time.
	wait_until 20 test "$(comm -13 <(echo "$before") <(erofs_mounts) | wc -l)" -le 2
}

@test "the helper keeps nothing of it, and stays small" {
	mount_face ""
	find_helper
	for pid in "$helper" "$deputy"; do
		[ "$(find "/proc/$pid/fd" -lname /dev/fuse | wc -l)" = 0 ]
		small=$(awk '/^Private_/ { sum += $2 } END { print sum }' "/proc/$pid/smaps_rollup")
		sanitized || ((small > 0 && small < 300)) || fail "$small kB"
	done
	unmount_face
}

@test "the server can have no other files opened, nor without end" {
	[ -x "$(dirname "$GPTQFS")/gptqfs-try" ] || skip "gptqfs-try is not built"
	mount_face ""
	unmount_face
	GPTQFS=$(dirname "$GPTQFS")/gptqfs-try
	for path in /etc/passwd ../etc/passwd fp16/../../etc/passwd fp16 none config.json/ info; do
		TRY_BEHIND=$path run -4 "$GPTQFS" -o pagecache=erofs "$model" "$mnt"
		[[ $output = *"files cannot be passed through FUSE: "* ]] || fail "$output"
		not_mounted "$mnt"
	done
	[[ $output = *"too long"* ]] || fail "$output"
}

@test "it is unmounted before the image is served" {
	[ -x "$(dirname "$GPTQFS")/gptqfs-try" ] || skip "gptqfs-try is not built"
	mount_face ""
	unmount_face
	TRY_LATE=1 in_background "$(dirname "$GPTQFS")/gptqfs-try" -f -o pagecache=erofs "$model" "$mnt"
	wait_until 20 is_mounted "$mnt"
	umount "$mnt"
	wait_until 20 is_gone "$process" || fail "it did not leave"
}

@test "where it cannot be, another server has all options" {
	mount_face ""
	unmount_face
	run -0 unshare -Urm "$GPTQFS" -o pagecache=auto,fsname=named,max_read=65536 "$model" "$mnt" -- sh -c \
		'findmnt -no SOURCE "$1"; grep ^Page_cache "$1/info"; cmp "$1/fp16/tokenizer.json" "$2/tokenizer.json"' - "$mnt" "$model"
	[[ $output = named*"FUSE's, not EROFS's: EROFS cannot be mounted"* ]] || fail "$output"
}

@test "another file system above it" {
	mkdir "$BATS_TEST_TMPDIR"/{upper,work,over}
	mount_face ,view=fp16
	mount -t overlay overlay -o "lowerdir=$mnt,upperdir=$BATS_TEST_TMPDIR/upper,workdir=$BATS_TEST_TMPDIR/work" \
		"$BATS_TEST_TMPDIR/over" || skip "no overlayfs"
	run cmp "$mnt/model.safetensors" "$BATS_TEST_TMPDIR/over/model.safetensors"
	umount "$BATS_TEST_TMPDIR/over"
	[ "$status" = 0 ] || fail "$output"
	unmount_face
}
