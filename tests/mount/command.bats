#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# gptqfs MODEL MOUNTPOINT -- COMMAND: mounting while a command runs, and its status, descriptors and signals.

load lib

setup() {
	mnt=$BATS_TEST_TMPDIR/mnt
	model=$BATS_TEST_TMPDIR/model
	watch_sanitizers
	make_checkpoint plain
	mkdir "$mnt"
}

# gone: neither the mount nor its server exists any more.
gone() {
	not_mounted "$mnt"
	wait_until 20 no_server || fail "a server is still there"
}

no_server() {
	[[ -z $(servers_of "$mnt") ]]
}

# with COMMAND...: runs it with a mount.
with() {
	"$GPTQFS" "$model" "$mnt" -- "$@" 3>&-
}

@test "the command sees the mount, its status is returned, and the mount is removed" {
	run -0 --separate-stderr with cmp "$mnt/fp16/tokenizer.json" "$model/tokenizer.json"
	[[ -z $output && -z $stderr ]]
	gone
	for status in 0 1 7 255; do
		run "-$status" with sh -c "exit $status"
		gone
	done
	[[ -z $(ls -A "$mnt") ]]
}

@test "without a mountpoint: one of its own, in {} and GPTQFS_MOUNTPOINT, which is removed" {
	export TMPDIR=$BATS_TEST_TMPDIR/tmp XDG_RUNTIME_DIR=
	mkdir "$TMPDIR"
	run -0 --separate-stderr "$GPTQFS" -o view=bf16 "$model" -- sh -c 'echo "$0" "$1" "$GPTQFS_MOUNTPOINT" && cmp "$0"/tokenizer.json "$2"' \
		{} a{}{}b "$model/tokenizer.json" 3>&-
	read -r own twice variable <<<"$output"
	[[ $own = "$TMPDIR"/gptqfs.?????? && $twice = "a$own${own}b" && $variable = "$own" && -z $stderr ]] || fail "$output $stderr"
	wait_until 20 eval '[[ -z $(ls -A "$TMPDIR") ]]'
	run -7 "$GPTQFS" "$model" -- sh -c 'exit 7' 3>&-
	run -127 "$GPTQFS" "$model" -- nonexistent-command 3>&-
	run -2 "$GPTQFS" "$TMPDIR" -- true
	run -1 "$GPTQFS" "$model" --
	wait_until 20 eval '[[ -z $(ls -A "$TMPDIR") ]]'
	# With one, {} is an argument like others.
	run -0 with echo {}
	[[ $output = {} ]]
	# The launcher is killed: the server cleans up.
	"$GPTQFS" "$model" -- sh -c 'kill -KILL $PPID' 3>&- || :
	wait_until 20 eval '[[ -z $(ls -A "$TMPDIR") ]]'
}

@test "a command that is killed: 128 + the signal" {
	for signal in TERM KILL SEGV; do
		run "-$((128 + $(kill -l $signal)))" with sh -c "kill -$signal \$\$"
		gone
	done
}

@test "a command that does not exist or is not executable" {
	run -127 --separate-stderr with /nonexistent/command
	[[ $stderr = *"/nonexistent/command"*"No such file"* ]]
	gone
	run -127 with nonexistent-command
	gone
	run -126 --separate-stderr with "$model/tokenizer.json"
	[[ $stderr = *tokenizer.json*"ermission denied"* ]]
	gone
}

@test "arguments, environment, directory, stdin, stdout and stderr are the caller's" {
	cd "$BATS_TEST_TMPDIR"
	WORD=hello run -0 --separate-stderr bash -c 'echo input | "$@" 3>&-' bash "$GPTQFS" "$model" "$mnt" -- sh -c \
		'pwd; echo "$WORD $# $1 [$2] $3"; cat; echo problem >&2' sh -o '' --
	[[ ${lines[0]} = "$BATS_TEST_TMPDIR" && ${lines[1]} = "hello 3 -o [] --" && ${lines[2]} = input ]]
	[[ $stderr = problem ]]
	gone
}

@test "options before --, and -- before the model" {
	run -0 "$GPTQFS" -o view=fp16 -s "$model" "$mnt" -o cache=1m -- ls "$mnt/config.json" 3>&-
	gone
	run -0 "$GPTQFS" -o view=fp16 -- "$model" "$mnt" -- ls "$mnt/config.json" 3>&-
	gone
	run -1 --separate-stderr "$GPTQFS" "$model" "$mnt" -- 3>&-
	[[ $stderr = *"no command"* ]]
	run -1 --separate-stderr "$GPTQFS" --check "$model" "$mnt" -- true
	[[ $stderr = *"mounts nothing"* ]]
	gone
}

@test "-f and -d with a command" {
	run -3 --separate-stderr "$GPTQFS" -f "$model" "$mnt" -- sh -c "ls $mnt/fp16 >/dev/null; exit 3" 3>&-
	[[ -z $output && -z $stderr ]]
	gone
	run -0 --separate-stderr "$GPTQFS" -d "$model" "$mnt" -- cat "$mnt/fp16/tokenizer.json" 3>&-
	[[ $output = "$(cat "$model/tokenizer.json")" && $stderr = *LOOKUP* ]]
	gone
}

@test "the mount fails: the command is not run" {
	run -1 --separate-stderr "$GPTQFS" "$model" "$BATS_TEST_TMPDIR/missing" -- touch "$BATS_TEST_TMPDIR/ran"
	run -2 --separate-stderr "$GPTQFS" "$mnt" "$mnt" -- touch "$BATS_TEST_TMPDIR/ran"
	[[ ! -e $BATS_TEST_TMPDIR/ran ]]
	gone
}

@test "the command has the caller's descriptors and none of gptqfs; the server has none of the caller's" {
	cp "$model/tokenizer.json" "$BATS_TEST_TMPDIR/seven"
	exec 7<"$BATS_TEST_TMPDIR/seven"
	run -0 with bash -c "cmp - '$model/tokenizer.json' <&7 && ls -l /proc/self/fd"
	[[ $output != *fuse* && $output != */model.safetensors* && $output != *" 4 "*pipe* ]] || fail "$output"
	run -0 with sh -c "for pid in /proc/[0-9]*; do [ \$pid/exe -ef $GPTQFS ] && grep -q $mnt \$pid/cmdline &&
		ls -l \$pid/fd; done; true"
	# The waiting process has it, the server does not.
	[[ $(grep -c /seven$ <<<"$output") = 1 ]] || fail "$output"
	[[ $(grep -c /dev/fuse <<<"$output") -ge 1 ]]
	exec 7<&-
	# A pipe that the caller reads ends with the command.
	diff <(with cat "$mnt/fp16/tokenizer.json") "$model/tokenizer.json"
	run -0 --separate-stderr timeout 20 "$GPTQFS" "$model" "$mnt" -- cmp <(cat "$model/tokenizer.json") "$mnt/fp16/tokenizer.json" 3>&-
	gone
}

@test "the command has the caller's limit of open files, the server as many as it can" {
	ulimit -Sn 256
	run -0 --separate-stderr with sh -c "ulimit -Sn; for pid in /proc/[0-9]*; do [ \$pid/exe -ef $GPTQFS ] &&
		grep -q $mnt \$pid/cmdline && sed -n 's/^Max open files *//p' \$pid/limits; done; true"
	[[ ${lines[0]} = 256 ]] || fail "$output"
	[[ $output = *$'\n'"$(ulimit -Hn) "* ]] || fail "$output"
	gone
}

@test "signals sent to gptqfs are forwarded, and the mount is removed after them" {
	for signal in TERM INT HUP USR1; do
		rm -f "$BATS_TEST_TMPDIR/ready" "$BATS_TEST_TMPDIR/got"
		in_background env --default-signal "$GPTQFS" "$model" "$mnt" -- bash -c \
			"trap 'echo $signal >$BATS_TEST_TMPDIR/got; exit 9' $signal; touch $BATS_TEST_TMPDIR/ready
			for ((i = 0; i < 400; i++)); do sleep 0.05; done"
		wait_until 20 test -e "$BATS_TEST_TMPDIR/ready"
		kill -"$signal" "$process"
		status=0
		wait "$process" || status=$?
		[[ $status = 9 && $(cat "$BATS_TEST_TMPDIR/got") = "$signal" ]] || fail "$signal: status $status"
		gone
	done
}

@test "Ctrl-C reaches the command once" {
	# A separate terminal; script(1) would add delays.
	run -0 python3 - "$GPTQFS" "$model" "$mnt" "$BATS_TEST_TMPDIR/count" <<'END'
import os, pty, signal, sys, time
gptqfs, model, mnt, count = sys.argv[1:]
pid, terminal = pty.fork()
if pid == 0:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # in the background it may be ignored
    os.execv(gptqfs, [gptqfs, model, mnt, "--", "bash", "-c", f"""
trap 'echo one >>{count}' INT; echo ready; read -t 20 line; sleep 0.5; [ -e {mnt}/fp16/config.json ] && exit 5"""])
text = b""
while b"ready" not in text:
    text += os.read(terminal, 1000)
os.write(terminal, b"\x03")
time.sleep(0.5)
os.write(terminal, b"\n")
_, status = os.waitpid(pid, 0)
assert os.waitstatus_to_exitcode(status) == 5, status
assert open(count).read() == "one\n", open(count).read()
END
	gone
}

@test "files left open: the mount is removed at once, and they can be read to the end" {
	(with bash -c "exec 5<$mnt/fp16/model.safetensors; { sleep 1; cat <&5 >$BATS_TEST_TMPDIR/late; } >/dev/null 2>&1 &")
	not_mounted "$mnt"
	[[ ! -e $BATS_TEST_TMPDIR/late || ! -s $BATS_TEST_TMPDIR/late ]]
	wait_until 20 no_server
	run -0 with cmp "$mnt/fp16/model.safetensors" "$BATS_TEST_TMPDIR/late"
	gone
}

@test "a command that unmounts, or mounts something over it" {
	run -4 with sh -c "fusermount3 -u $mnt; exit 4"
	gone
	need_root
	run -0 --separate-stderr with mount -t tmpfs none "$mnt"
	[[ $stderr = *"cannot be detached"* ]]
	umount "$mnt"
	fusermount3 -u "$mnt"
	gone
}

@test "one after the other on the same mountpoint" {
	# Device numbers are reused at once: no server may remove the mount of the next one.
	for i in {1..40}; do
		run -0 with cmp "$mnt/fp16/tokenizer.json" "$model/tokenizer.json"
	done
	gone
}

@test "gptqfs is killed: the mount is removed" {
	in_background "$GPTQFS" "$model" "$mnt" -- sleep 20
	wait_until 20 is_mounted "$mnt"
	wait_until 20 has_child
	kill -KILL "$process"
	wait_until 20 not_mounted "$mnt"
	wait_until 20 no_server
	kill "$child"
}

has_child() {
	child=$(pgrep -P "$process" -x sleep)
}
