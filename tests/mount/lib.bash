# SPDX-License-Identifier: MIT
# Shared by the tests of mounted models. Mounts are below the directory of the test; teardown removes all mounts there
# and ends their servers, even if the test failed.

bats_require_minimum_version 1.5.0

ROOT=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
TESTS=$ROOT/tests
GPTQFS=${GPTQFS:-build/gptqfs}
[[ $GPTQFS = /* ]] || GPTQFS=$ROOT/$GPTQFS
HAMMER=$(dirname "$GPTQFS")/hammer
HANDLES=$(dirname "$GPTQFS")/handles

# Directory of the test, or of the file while setup_file and teardown_file run.
where() {
	printf '%s' "${BATS_TEST_TMPDIR:-$BATS_FILE_TMPDIR}"
}

# A background server has no stderr, so sanitizers report to files, which teardown checks.
watch_sanitizers() {
	local words

	words=log_path=$(where)/sanitizer
	# The last value counts.
	export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}$words
	export UBSAN_OPTIONS=${UBSAN_OPTIONS:+$UBSAN_OPTIONS:}print_stacktrace=1:$words
	export TSAN_OPTIONS=${TSAN_OPTIONS:+$TSAN_OPTIONS:}$words
}

sanitized() {
	[[ $GPTQFS = */san-* ]]
}

processes=()
places=()

setup() {
	mnt=$BATS_TEST_TMPDIR/mnt
	model=$BATS_TEST_TMPDIR/model
	[[ -x $GPTQFS ]] || fail "$GPTQFS is not there; build it first (make)"
	watch_sanitizers
}

teardown() {
	end_all
}

fail() {
	printf '%s\n' "$@" >&2
	return 1
}

# ---- models ----

# has_model NAME: true if there is this real checkpoint, which is then in $source. Its expected values are in
# $expected.TYPE.json.
has_model() {
	local base

	for base in "$TESTS"/data{,/float,/int,/gguf} "$ROOT"/../shared{,/float,/int,/gguf}; do
		source=$base/models/$1
		expected=$base/expected/$1
		[[ -d $source ]] && return
	done
	return 1
}

# find_model NAME: likewise; the test is skipped if it is not there.
find_model() {
	has_model "$1" || skip "no checkpoint $1 in tests/data or ../shared"
}

# find_adapter NAME: its directory, in $adapter. Expected values of merges with it are below $merged.
find_adapter() {
	local base

	for base in "$TESTS/data/lora" "$ROOT/../shared/lora"; do
		adapter=$base/adapters/$1
		merged=$base/expected
		[[ -d $adapter ]] && return
	done
	skip "no adapter $1 in tests/data/lora or ../shared/lora"
}

# copy_model NAME: a writable copy of it in $model.
copy_model() {
	find_model "$1"
	cp -rL "$source" "$model"
	chmod -R u+w "$model"
}

# edit_model: changes $model by the Python on stdin, which sees tensors and config (tools/edit_model.py).
edit_model() {
	python3 -S "$TESTS/tools/edit_model.py" "$model"
}

# in_order WORD...: sets $pattern to what matches texts that have these words in this order.
in_order() {
	local word

	pattern='*'
	for word; do
		pattern+=$word*
	done
}

# refused WORD...: the mount of $model is refused with exit 3, and a message that has these words in this order.
refused() {
	local pattern

	in_order "$@"
	mkdir -p "$mnt"
	run -3 "$GPTQFS" "$model" "$mnt"
	[[ $output = $pattern ]] || fail "$output"
}

# make_checkpoint KIND: a synthetic one in $model, likewise.
make_checkpoint() {
	python3 -S "$TESTS/tools/make_checkpoint.py" "$1" "$model"
	expected=$model
	[[ ! -d $model/models--org--name ]] || model=$model/models--org--name
}

# ---- waiting ----

# wait_until SECONDS COMMAND...: until the command succeeds.
wait_until() {
	local end=$((SECONDS + $1))

	shift
	until "$@"; do
		((SECONDS <= end)) || return 1
		sleep 0.05
	done
}

# True if this process has ended, reaped or not.
is_gone() {
	local line

	{ read -r line <"/proc/$1/stat"; } 2>/dev/null || return 0
	line=${line##*) }
	[[ $line = Z* || $line = X* ]]
}

# A condition of its own, because a plain "! is_gone" never fails a test.
is_running() {
	if is_gone "$1"; then
		return 1
	fi
}

# All mountpoints, the latest first. Blanks and backslashes are octal escapes in mountinfo.
mountpoints() {
	local lines i path

	mapfile -t lines </proc/self/mountinfo
	for ((i = ${#lines[@]} - 1; i >= 0; i--)); do
		read -r _ _ _ _ path _ <<<"${lines[i]}"
		printf '%b\n' "$path"
	done
}

is_mounted() {
	mountpoints | grep -qxF -- "$(realpath -ms "$1")"
}

not_mounted() {
	if is_mounted "$1"; then
		return 1
	fi
}

# ---- servers ----

# servers_of PATTERN: gptqfs processes with an argument that matches the pattern, without their helpers.
servers_of() {
	processes_of "$1" | while read -r pid; do
		[[ $(cat "/proc/$pid/comm" 2>/dev/null) = gptqfs-[hd]e* ]] || printf '%s\n' "$pid"
	done
}

# processes_of PATTERN: the same with their helpers.
processes_of() {
	local proc arg args

	for proc in /proc/[0-9]*; do
		[[ $proc/exe -ef $GPTQFS ]] || continue
		{ mapfile -d '' -t args <"$proc/cmdline"; } 2>/dev/null || continue
		for arg in "${args[@]}"; do
			if [[ $arg = $1 ]]; then
				printf '%s\n' "${proc#/proc/}"
				break
			fi
		done
	done
}

# find_server MOUNTPOINT: sets $server.
find_server() {
	local at=${1//\\/\\\\}

	server=$(servers_of "$at")
	[[ -n $server ]] || fail "no server of $1"
}

# has_face SERVER: true if its files are read by an EROFS mount behind the one that is seen: it has a session for each.
has_face() {
	[[ $(find "/proc/$1/fd" -lname /dev/fuse | wc -l) = 2 ]]
}

# find_helper: sets $helper and $deputy, those of $server.
find_helper() {
	local child

	helper=$(awk '/^PPid:/ { print $2 }' "/proc/$server/status")
	deputy=
	for child in $(cat "/proc/$helper/task/$helper/children"); do
		[[ $child = "$server" ]] || deputy=$child
	done
	[[ -n $deputy ]] || fail "the helper of $server has no deputy"
}

# leave_stale MOUNTPOINT: kills its $server, and first those that would remove the mount.
leave_stale() {
	find_helper
	kill -KILL "$deputy" "$helper" "$server"
	wait_until 20 is_gone "$server" || fail "the server of $1 is still there"
}

# mount_model ARGUMENT... MOUNTPOINT: in the background, until the test ends. $server is its process.
mount_model() {
	local at=${!#} before

	mkdir -p "$at"
	before=$(servers_of "${at//\\/\\\\}")
	"$GPTQFS" "$@" 3>&-
	find_server "$at"
	[[ -z $before ]] || server=$(grep -vxF "$before" <<<"$server")
}

# mount_foreground LOG ARGUMENT... MOUNTPOINT: with -f and stderr in LOG. $helper is the process in the foreground.
mount_foreground() {
	local log=$1 at=${!#}

	shift
	mkdir -p "$at"
	"$GPTQFS" -f "$@" 2>"$log" 3>&- &
	helper=$!
	wait_until 20 is_ready "$at" || fail "not mounted: $(cat "$log")"
	find_server "$at"
}

is_ready() {
	is_gone "$helper" || { is_mounted "$1" && ls "$1" >/dev/null 2>&1; }
}

# unmount MOUNTPOINT: and wait for its server to exit.
unmount() {
	fusermount3 -u "$1"
	wait_until 20 is_gone "$server" || fail "the server did not leave after the unmount"
}

# end_below DIRECTORY: removes the mounts below it, and ends their servers.
end_below() {
	local pids pid at rc=0

	pids=$(processes_of "$1/*")
	mountpoints | while read -r at; do
		[[ $at = "$1"/* ]] || continue
		fusermount3 -u "$at" 2>/dev/null || fusermount3 -uz "$at" 2>/dev/null || umount -l "$at"
	done
	for pid in $pids; do
		wait_until 20 is_gone "$pid" && continue
		echo "server $pid did not leave after the unmount" >&2
		# Process numbers are reused: check that it is still the same.
		processes_of "$1/*" | grep -qx "$pid" && kill -KILL "$pid"
		rc=1
	done
	return $rc
}

# Ends everything this test (or file) started. Fails if a server did not exit, or a sanitizer reported an error.
end_all() {
	local dir rc=0 pid report

	for pid in "${processes[@]}"; do
		# Only while it is still a job of this shell: process numbers are reused.
		jobs -p | grep -qx "$pid" && kill -KILL "$pid"
	done
	# Tests use descriptor 9 for files on a mount.
	exec 9<&-
	for dir in "$(where)" "${places[@]}"; do
		end_below "$dir" || rc=1
	done
	for dir in "${places[@]}"; do
		rm -rf --one-file-system "$dir"
	done
	for report in "$(where)"/sanitizer.*; do
		[[ -e $report ]] || continue
		head -60 "$report" >&2
		rc=1
	done
	return $rc
}

# public_directory: a directory that other users can search, in $dir. Cleaned up like that of the test.
public_directory() {
	dir=$(mktemp -d)
	places+=("$dir")
	chmod 711 "$dir"
}

# in_background COMMAND...: ended with the test if still running. $process is its process.
in_background() {
	"$@" 3>&- &
	process=$!
	processes+=("$process")
}

# ---- reading ----

# read_or_eio FILE COPY: reads all of FILE. Every piece is either as in COPY, or EIO. Prints how many bytes were read,
# and how many failed.
read_or_eio() {
	python3 - "$1" "$2" <<'END'
import errno, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
copy = open(sys.argv[2], "rb").read()
at = good = failed = 0
while at < len(copy):
    try:
        data = os.pread(fd, 65536, at)
    except OSError as e:
        assert e.errno == errno.EIO, e
        size = min(4096 - at % 4096, len(copy) - at)
        failed += size
    else:
        # A short read ends before an unreadable page.
        size = len(data)
        assert size and data == copy[at:at + size], f"wrong bytes near {at}"
        good += size
    at += size
print(f"{good} read, {failed} failed")
END
}

# compare_view VIEW TYPE: every tensor of a view with its expected value.
compare_view() {
	python3 -S "$TESTS/tools/compare.py" "$1" "$expected.$2.json"
}

# compare_views MOUNTPOINT: those of all three views.
compare_views() {
	python3 -S "$TESTS/tools/compare.py" "$1/fp16" "$expected.F16.json" "$1/bf16" "$expected.BF16.json" \
		"$1/fp32" "$expected.F32.json"
}

# compare_fused MOUNTPOINT: the fused views with the rows of what they join.
compare_fused() {
	python3 -S "$TESTS/tools/compare.py" --fused "$1/fused/fp16" "$expected.F16.json" "$1/fused/bf16" \
		"$expected.BF16.json" "$1/fused/fp32" "$expected.F32.json"
}

# compare_pieces FILE: random pieces of it, none of them from the page cache, are what they are in the whole file.
compare_pieces() {
	cat "$1" >"$BATS_TEST_TMPDIR/whole"
	python3 -S - "$1" "$BATS_TEST_TMPDIR/whole" <<'END'
import os, random, sys
whole = open(sys.argv[2], "rb").read()
random.seed(20)
for _ in range(50):
    fd = os.open(sys.argv[1], os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    at, size = random.randrange(len(whole)), random.choice((1, 17, 100, 4096, 70000))
    assert os.pread(fd, size, at) == whole[at:at + size], (at, size)
    os.close(fd)
END
}

need_root() {
	[[ $EUID = 0 ]] || skip "needs root"
}

# It cannot be used together with LeakSanitizer.
need_strace() {
	strace -o /dev/null -e inject=getpid:delay_exit=1 true 2>/dev/null || skip "needs strace"
	export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
}

need_namespace() {
	need_root
	unshare -m true 2>/dev/null || skip "needs a private mount namespace (unshare -m)"
}

# in_private COMMAND...: runs it in a mount namespace of its own, without the mounts of tests that run at the same time:
# there they would stay after an unmount, and their servers with them.
in_private() {
	unshare -m bash -c 'umount -ailt fuse.gptqfs 2>/dev/null; exec "$@"' bash "$@"
}

# ---- packed/ ----

# packed_again: opens the packed view of $mnt as a checkpoint, by its own configuration. It must have the same fused
# views, and the same packed one.
packed_again() {
	mount_model "$mnt/packed" "$again"
	inner=$server
	diff -r "$mnt/fused" "$again/fused"
	diff -r "$mnt/packed" "$again/packed"
	fusermount3 -u "$again"
	wait_until 20 is_gone "$inner" || fail "the server did not leave after the unmount"
}

# check_packed: the same; also decodes it by another program, and checks that readers find everything by name.
check_packed() {
	again=$BATS_TEST_TMPDIR/again
	python3 -S "$TESTS/tools/packed.py" names "$mnt/packed"
	# Small enough for a slow decoder.
	[[ $(du -b --apparent-size -s "$mnt/packed" | cut -f1) -gt 10000000 ]] ||
		python3 -S "$TESTS/tools/packed.py" decode "$mnt/packed" "$expected"
	packed_again
}

# packed_model NAME: the packed view of a real checkpoint is GPTQ, and the same model.
packed_model() {
	find_model "$1"
	mount_model "$source" "$mnt"
	check_packed
}

# packed_kind KIND: likewise of one that make_checkpoint.py writes.
packed_kind() {
	make_checkpoint "$1"
	mount_model "$model" "$mnt"
	check_packed
}
