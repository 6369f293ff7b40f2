#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# The command line: options, exit codes, and what the caller's terminal and descriptors see.

load lib

# usage_error ARGUMENT...: exit 1, and only one message, on stderr, which is left in $stderr.
usage_error() {
	run -1 --separate-stderr "$GPTQFS" "$@"
	[[ -z $output && -n $stderr ]]
}

# refused CODE ARGUMENT...: the same with another code, and nothing mounted.
refused() {
	local code=$1

	shift
	run "-$code" --separate-stderr "$GPTQFS" "$@"
	[[ -z $output && $stderr = gptqfs:* ]]
	not_mounted "$mnt"
}

@test "help is on stdout and lists every option" {
	for option in --help -h; do
		run -0 --separate-stderr "$GPTQFS" $option
		[[ -z $stderr && $output = usage:* ]]
	done
	for word in MODEL_DIR MOUNTPOINT "gptqfs -u" --check --json --version --cpu view= fp16 bf16 fp32 cache= readahead= \
		direct_io follow_symlinks uid= gid= umask= max_read= clone_fd allow_other " -f" " -d" " -s"; do
		[[ $output = *"$word"* ]] || fail "help does not mention $word"
	done
}

@test "version is on stdout" {
	for option in --version -V; do
		run -0 --separate-stderr "$GPTQFS" $option
		[[ -z $stderr && $output =~ ^gptqfs\ [0-9]+\.[0-9]+\.[0-9]+ ]]
	done
}

@test "no arguments" {
	usage_error
	[[ $stderr = *"MODEL_DIR MOUNTPOINT"* ]]
}

@test "no mountpoint" {
	usage_error "$BATS_TEST_TMPDIR"
	[[ $stderr = *"no mountpoint"*"MODEL_DIR MOUNTPOINT"* ]]
}

@test "too many arguments" {
	mkdir "$mnt"
	usage_error "$BATS_TEST_TMPDIR" "$mnt" surplus
	[[ $stderr = *surplus* ]]
}

@test "an unknown option is reported, not its consequences" {
	usage_error --nonsense /nonexistent "$mnt"
	[[ $stderr = *nonsense* && $stderr != */nonexistent* ]]
	usage_error -o nonsense=1 /nonexistent "$mnt"
	[[ $stderr = *nonsense* && $stderr != */nonexistent* ]]
}

@test "an unknown option is reported with the most similar one" {
	while IFS='|' read -r given meant; do
		usage_error $given /nonexistent "$mnt"
		[[ $stderr = "gptqfs: unknown option $given; did you mean $meant?" ]] || fail "$stderr"
	done <<'LIST'
--chekc|--check
--jsno|--json
--sha265|--sha256
--vresion|-V, --version
-o viev=fp16|-o view=NAME
--viev=fp16|-o view=NAME
-o view|-o view=NAME
-o direct-io|-o direct_io
-o allow_ohter|-o allow_other
--allow_other|-o allow_other
LIST
	# No option is similar.
	usage_error --qqqqqqqq /nonexistent
	[[ $stderr = *"unknown option --qqqqqqqq; "*--help* ]]
	usage_error --check -o bogus=1 /nonexistent
	[[ $stderr = *"-o bogus=1"* ]]
}

@test "mount options of libfuse and of the kernel are accepted" {
	need_root
	make_checkpoint plain
	mount_model -o max_threads=3,max_idle_threads=2,clone_fd,subtype=x,noexec,sync "$model" "$mnt"
	grep -q " $mnt ro,nosuid,nodev,noexec.* - fuse.gptqfs " /proc/self/mountinfo
}

@test "options of -o may be written with dashes" {
	make_checkpoint plain
	mount_model --view=fp32 --cache=1m --uid=7 --noxattr "$model" "$mnt"
	[[ $(stat -c %u "$mnt/model.safetensors") = 7 ]]
	compare_view "$mnt" F32
	unmount "$mnt"
	mount_model --dtype=fp32 "$model" "$mnt"
	find "$mnt/tensors" -name '*.npy' -exec head -c 128 {} \; | grep -q "'<f4'"
	usage_error --view=fp8 --check "$model"
	[[ $stderr = *fp8*fp16* ]]
}

@test "an unknown view: the message lists all views" {
	make_checkpoint plain
	mkdir "$mnt"
	usage_error -o view=fp8 "$model" "$mnt"
	[[ $stderr = *fp8*fp16*bf16*fp32* ]]
	not_mounted "$mnt"
}

@test "an unknown cpu level: the message lists all levels" {
	make_checkpoint plain
	usage_error --cpu=mmx --check "$model"
	[[ $stderr = *mmx*avx2* ]]
	GPTQFS_CPU=mmx usage_error --check "$model"
	[[ $stderr = *mmx*avx2* ]]
}

@test "a cpu level that this machine lacks" {
	make_checkpoint plain
	case $(uname -m) in
	x86_64) lacking=neon ;;
	*) lacking=avx2 ;;
	esac
	usage_error --cpu=$lacking --check "$model"
	[[ $stderr = *$lacking*"lacks it"* ]]
}

@test "sizes and numbers that make no sense" {
	mkdir "$mnt"
	for option in cache= cache=lots cache=1x cache=-1 cache=1mm max_read=1 max_read=99999999 readahead=2000000 \
		reader_threads=0 reader_threads=5 readahead= readahead=4m reader_threads=2.5 max_read=65536k uid=-5 \
		uid=4294967296 gid=x umask=0778; do
		usage_error -o $option "$BATS_TEST_TMPDIR" "$mnt"
		[[ $stderr = *"${option%%=*}"*expected* ]] || fail "$option: $stderr"
	done
	for words in "-j 2x" -j2x --readahead=4m; do
		usage_error $words --export="$mnt" "$BATS_TEST_TMPDIR"
		[[ $stderr = *"expected a number"* ]] || fail "$words: $stderr"
	done
}

@test "--json without --check, --check with a mountpoint" {
	usage_error --json "$BATS_TEST_TMPDIR" "$mnt"
	[[ $stderr = *--check* ]]
	usage_error --json "$BATS_TEST_TMPDIR"
	[[ $stderr = *"--json goes with --check"* ]]
	usage_error --sha256
	[[ $stderr = *"--sha256 goes with --check"* ]]
	usage_error --check "$BATS_TEST_TMPDIR" "$mnt"
	[[ $stderr = *"mounts nothing"* ]]
}

@test "--check lists every module" {
	make_checkpoint act_order
	run -0 --separate-stderr "$GPTQFS" --check "$model"
	[[ -z $stderr ]]
	[[ $output = *model.layers.0.self_attn.q_proj*" 32   yes "* && $output = *model.layers.0.mlp.down_proj* ]]
	[[ $output = *"Warnings:           0"* ]]
}

@test "--check --json is JSON with the same" {
	make_checkpoint disagreeing
	"$GPTQFS" --check --json "$model" >"$BATS_TEST_TMPDIR/json"
	python3 - "$BATS_TEST_TMPDIR/json" "$model" <<'END'
import json, os, sys
found = json.load(open(sys.argv[1]))
assert found["source"] == os.path.realpath(sys.argv[2])
assert found["format"] == "GPTQ" and found["checkpoint_format"] == "gptq"
assert len(found["warnings"]) == 1 and "disagree" in found["warnings"][0], found["warnings"]
modules = {m["name"]: m for m in found["modules"]}
assert list(modules) == ["model.layers.0.mlp.down_proj", "model.layers.0.self_attn.q_proj"]
down = modules["model.layers.0.mlp.down_proj"]
for key, value in dict(bits=4, group_size=32, in_features=96, out_features=64, groups=3, act_order=False,
                       scale_dtype="F16", shards=["model.safetensors"]).items():
    assert down[key] == value, (key, down[key])
END
}

@test "names that need escaping in --check --json" {
	make_checkpoint plain
	mv "$model" "$BATS_TEST_TMPDIR"/$'quo"te \\ tab\t'
	"$GPTQFS" --check --json "$BATS_TEST_TMPDIR"/$'quo"te \\ tab\t' | python3 -c 'import json, sys
assert json.load(sys.stdin)["source"].endswith("/quo\"te \\ tab\t")'
}

@test "exit 0 and silence when all is well" {
	make_checkpoint plain
	run -0 --separate-stderr mount_model "$model" "$mnt"
	# A user who may not raise readahead gets one line.
	[[ -z $output ]]
	[[ -z $stderr || ($EUID != 0 && $stderr = *readahead*) ]]
}

@test "-q: nothing but errors" {
	make_checkpoint disagreeing
	run -0 --separate-stderr mount_model -q "$model" "$mnt"
	[[ -z $output && -z $stderr ]]
	run -0 --separate-stderr mount_model --quiet -o rw "$model" "$mnt"
	[[ -z $output && -z $stderr ]]
	run -0 --separate-stderr "$GPTQFS" -q --check "$model"
	[[ -z $output && -z $stderr ]]
	usage_error -q --check "$model" "$mnt"
	run -2 --separate-stderr "$GPTQFS" -q --check "$BATS_TEST_TMPDIR/missing"
	[[ -z $output && -n $stderr ]]
}

@test "-o rw and a second mount at the same place print a line" {
	make_checkpoint plain
	run -0 --separate-stderr mount_model -o rw "$model" "$mnt"
	[[ $stderr = *"-o rw is ignored"*"read-only"* ]]
	run -0 --separate-stderr mount_model "$model" "$mnt"
	[[ $stderr = *"$mnt: a model is mounted there already"* ]]
	[[ -e $mnt/fp16/config.json ]]
}

@test "-u unmounts, even a stale mount, but only gptqfs" {
	make_checkpoint plain
	for way in -u --unmount; do
		mount_model "$model" "$mnt"
		run -0 --separate-stderr "$GPTQFS" $way "$mnt"
		[[ -z $output && -z $stderr ]]
		not_mounted "$mnt"
		wait_until 20 is_gone "$server"
	done
	mount_model "$model" "$mnt"
	(cd "$BATS_TEST_TMPDIR" && "$GPTQFS" -u mnt/)
	not_mounted "$mnt"
	mount_model "$model" "$mnt"
	leave_stale "$mnt"
	(cd "$BATS_TEST_TMPDIR" && "$GPTQFS" -u mnt/)
	not_mounted "$mnt"
	run -4 --separate-stderr "$GPTQFS" -u "$mnt"
	[[ $stderr = *"$mnt: nothing is mounted there"* ]]
	run -4 --separate-stderr "$GPTQFS" -u "$BATS_TEST_TMPDIR/missing"
	[[ $stderr = *missing*"No such file"* ]]
	run -4 --separate-stderr "$GPTQFS" -u /proc
	[[ $stderr = *"type proc, not of gptqfs"* && -e /proc/self ]]
	usage_error -u
	usage_error -u "$model" "$mnt"
}

@test "-u of a mount in use reports that" {
	make_checkpoint plain
	mount_model "$model" "$mnt"
	exec 9<"$mnt/fp16/model.safetensors"
	run -4 --separate-stderr "$GPTQFS" -u "$mnt"
	[[ $stderr = *"$mnt: "*"in use"*"fusermount3 -u"* ]]
	is_mounted "$mnt"
	exec 9<&-
	"$GPTQFS" -u "$mnt"
	not_mounted "$mnt"
}

@test "swapped arguments are recognised" {
	make_checkpoint plain
	mkdir "$mnt"
	run -2 --separate-stderr "$GPTQFS" "$mnt" "$model"
	[[ $stderr = *"did you mean: gptqfs '$model' '$mnt'"* ]]
	not_mounted "$model"
	# Only if it is a model.
	mkdir "$BATS_TEST_TMPDIR/other"
	run -2 --separate-stderr "$GPTQFS" "$mnt" "$BATS_TEST_TMPDIR/other"
	[[ $stderr != *"did you mean"* ]]
}

@test "org/name is looked up in the Hugging Face cache" {
	make_checkpoint hf_cache
	hub=$(dirname "$model")
	# As in huggingface_hub: HF_HUB_CACHE, HF_HOME/hub, ~/.cache/huggingface/hub.
	mkdir -p "$BATS_TEST_TMPDIR/home/.cache/huggingface"
	ln -s "$hub" "$BATS_TEST_TMPDIR/home/.cache/huggingface/hub"
	cd "$BATS_TEST_TMPDIR"
	for setting in HF_HUB_CACHE="$hub" HF_HOME="$BATS_TEST_TMPDIR/home/.cache/huggingface" HOME="$BATS_TEST_TMPDIR/home"; do
		run -0 env -u HF_HUB_CACHE -u HF_HOME -u XDG_CACHE_HOME "$setting" "$GPTQFS" --check --json org/name
		[[ $(jq -r .source <<<"$output") = "$(realpath "$model")"/snapshots/* ]]
	done
	for setting in HF_HUB_CACHE="~/.cache/huggingface/hub" HF_HOME="~/.cache/huggingface"; do
		run -0 env -u HF_HUB_CACHE -u HF_HOME HOME="$BATS_TEST_TMPDIR/home" "$setting" "$GPTQFS" --check --json org/name
	done
	HF_HUB_CACHE=$hub mount_model org/name "$mnt"
	[[ -e $mnt/fp16/config.json ]]
	# Not in the cache, or a directory of that name exists.
	HF_HUB_CACHE=$hub run -2 --separate-stderr "$GPTQFS" --check org/other
	[[ $stderr = *"org/other: no such directory, and not in the Hugging Face cache ($hub/models--org--other)"*"hf download org/other"* ]]
	mkdir -p org/name
	HF_HUB_CACHE=$hub run -2 --separate-stderr "$GPTQFS" --check org/name
	HF_HUB_CACHE=$hub run -2 --separate-stderr "$GPTQFS" --check ../no/name
	[[ $stderr != *"Hugging Face"* ]]
}

@test "exit 1: a mountpoint that is missing or not a directory" {
	make_checkpoint plain
	refused 1 "$model" "$mnt"
	[[ $stderr = *"$mnt"*"mkdir -p"* ]]
	touch "$mnt"
	refused 1 "$model" "$mnt"
	[[ $stderr = *"$mnt"*"not a directory"* ]]
}

@test "exit 2: no readable weights" {
	mkdir "$mnt" "$model"
	refused 2 "$model" "$mnt"
	refused 2 "$BATS_TEST_TMPDIR/missing" "$mnt"
	[[ $stderr = *"$BATS_TEST_TMPDIR/missing"* ]]
	touch "$BATS_TEST_TMPDIR/file"
	refused 2 "$BATS_TEST_TMPDIR/file" "$mnt"
	[[ $stderr = *"$BATS_TEST_TMPDIR/file"*"not a directory"* ]]
}

@test "exit 3: damaged weights" {
	make_checkpoint truncated
	mkdir "$mnt"
	refused 3 "$model" "$mnt"
	run -3 "$GPTQFS" --check "$model"
}

@test "exit 4: no /dev/fuse" {
	need_namespace
	make_checkpoint plain
	mkdir "$mnt"
	run -4 --separate-stderr in_private bash -c 'mount -t tmpfs -o dev none /dev && mknod -m 666 /dev/null c 1 3 &&
		exec "$@"' bash "$GPTQFS" "$model" "$mnt"
	[[ -z $output && $stderr = *"there is no /dev/fuse"*"modprobe fuse"*"gptqfs --export=DIR"* ]]
}

@test "exit 4: a /dev/fuse that cannot be opened" {
	need_namespace
	make_checkpoint plain
	mkdir "$mnt"
	run -4 --separate-stderr in_private bash -c 'mount -t tmpfs -o nodev none /mnt && mknod /mnt/fuse c 10 229 &&
		mount --bind /mnt/fuse /dev/fuse && exec "$@"' bash "$GPTQFS" "$model" "$mnt"
	[[ -z $output && $stderr = *"/dev/fuse: "*"gptqfs --export=DIR"* ]]
}

@test "exit 4: a mountpoint that this user may not use, even if the message cannot be written" {
	need_root
	public_directory
	cp "$GPTQFS" "$dir/gptqfs"
	mkdir -p "$dir/private/mnt"
	chmod 700 "$dir/private"
	for to in "&1" "&-" /dev/full; do
		run -4 setpriv --reuid=65534 --regid=65534 --clear-groups bash -c "\"\$@\" 2>$to" bash \
			"$dir/gptqfs" "$BATS_TEST_TMPDIR" "$dir/private/mnt"
	done
}

@test "exit 4: a stale mountpoint, with the command that clears it" {
	make_checkpoint plain
	mount_model "$model" "$mnt"
	leave_stale "$mnt"
	run ! ls "$mnt"
	run -4 --separate-stderr "$GPTQFS" "$model" "$mnt"
	[[ -z $output && $stderr = *"$mnt"*"server died"*"fusermount3 -uz "* ]]
	# The command in the message must work unchanged.
	bash -c "fusermount3 ${stderr##*fusermount3 }"
	not_mounted "$mnt"
	mount_model "$model" "$mnt"
	[[ -e $mnt/fp16/config.json ]]
}

@test "a stale mount as the model" {
	make_checkpoint plain
	mount_model -o view=fp16 "$model" "$mnt"
	leave_stale "$mnt"
	mkdir "$BATS_TEST_TMPDIR/other"
	run -2 --separate-stderr "$GPTQFS" "$mnt" "$BATS_TEST_TMPDIR/other"
	[[ $stderr = *"fusermount3 -uz "*"$mnt"* ]]
}

@test "x=\$(gptqfs ...) returns" {
	make_checkpoint plain
	mkdir "$mnt"
	x=$(timeout 20 "$GPTQFS" "$model" "$mnt" 2>&1 3>&-)
	[[ -z $x || $EUID != 0 ]]
	[[ -e $mnt/fp16/config.json ]]
}

@test "the daemon holds none of the caller's descriptors, and no terminal" {
	make_checkpoint plain
	mkdir "$mnt"
	exec 7>"$BATS_TEST_TMPDIR/seven" 8< <(:)
	(cd "$BATS_TEST_TMPDIR" && mount_model "$model" "$mnt")
	exec 7>&- 8<&-
	find_server "$mnt"
	for fd in 0 1 2; do
		[[ /proc/$server/fd/$fd -ef /dev/null ]]
	done
	run -0 ls -l "/proc/$server/fd"
	[[ $output != *"$BATS_RUN_TMPDIR"/[!t]* && $output != */seven* && $output != */mnt* ]] || fail "$output"
	[[ $(readlink "/proc/$server/cwd") = / ]]
	# Field 6 is the session, field 7 the terminal.
	read -r _ _ _ _ _ session tty _ <"/proc/$server/stat"
	[[ $session = "$server" && $tty = 0 ]]
}

@test "nor where a sandbox forbids close_range" {
	make_checkpoint plain
	mkdir "$mnt"
	need_strace
	timeout 20 strace -o /dev/null -e trace=close_range -e inject=close_range:error=EPERM "$GPTQFS" "$model" "$mnt" \
		3>&- 7>"$BATS_TEST_TMPDIR/seven"
	find_server "$mnt"
	run -0 ls -l "/proc/$server/fd"
	[[ $output != */seven* ]] || fail "$output"
}

@test "closed stdin, stdout and stderr" {
	make_checkpoint plain
	mkdir "$mnt"
	"$GPTQFS" "$model" "$mnt" <&- >&- 2>&- 3>&-
	find_server "$mnt"
	for fd in 0 1 2; do
		[[ /proc/$server/fd/$fd -ef /dev/null ]]
	done
	cmp "$mnt/fp16/tokenizer.json" "$model/tokenizer.json"
}

@test "output that cannot be written" {
	for words in --help --version --licenses "--list --json"; do
		run -5 bash -c '"$0" $1 >/dev/full' "$GPTQFS" "$words"
		[[ $output = *"standard output: No space left"* ]] || fail "$words: $output"
		run -5 bash -c '"$0" $1 >&-' "$GPTQFS" "$words"
		[[ $output = *"standard output: Bad file descriptor"* ]] || fail "$words: $output"
	done
}

@test "without /proc SIGTERM still removes the mount" {
	! sanitized || skip "sanitizers need /proc"
	need_namespace
	make_checkpoint plain
	mkdir "$mnt"
	for options in -q -opagecache=auto; do
		run -0 in_private timeout 20 bash -c 'umount -l /proc && "$0" "$3" "$1" "$2" 3>&- && cd "$2" &&
			server=$(getfattr --only-values -n user.gptqfs.pid .) && kill -TERM $server &&
			until [[ ! -e $2/info ]]; do sleep 0.1; done && cmp fp16/tokenizer.json "$1/tokenizer.json"' \
			"$GPTQFS" "$model" "$mnt" "$options"
	done
}

@test "a caller that ignores SIGCHLD is told of failures" {
	make_checkpoint plain
	mkdir "$mnt"
	truncate -s 100 "$model"/*.safetensors
	for words in -q -f; do
		run -3 env --ignore-signal=CHLD "$GPTQFS" $words "$model" "$mnt" 3>&-
		[[ $output = *"model.safetensors"* ]] || fail "$output"
	done
}

@test "-f stays, and exits with 0 after an unmount" {
	make_checkpoint plain
	mount_foreground "$BATS_TEST_TMPDIR/log" "$model" "$mnt"
	[[ -e $mnt/fp16/config.json ]]
	fusermount3 -u "$mnt"
	wait "$helper"
	[[ ! -s $BATS_TEST_TMPDIR/log ]] || fail "$(cat "$BATS_TEST_TMPDIR/log")"
}

@test "-f exits with 0 after SIGTERM and SIGINT" {
	make_checkpoint plain
	for signal in TERM INT HUP; do
		mount_foreground "$BATS_TEST_TMPDIR/log" "$model" "$mnt"
		kill -$signal "$helper"
		wait "$helper"
		not_mounted "$mnt"
		mount_foreground "$BATS_TEST_TMPDIR/log" "$model" "$mnt"
		kill -$signal "$server"
		wait "$helper"
		not_mounted "$mnt"
	done
}

# They are blocked before mounting, and the process that mounted removes the mount.
@test "a signal between the mount and the first contact leaves no stale mount" {
	make_checkpoint plain
	mkdir "$mnt"
	need_strace
	# Delays the process where a signal used to kill it, and where it was handled without detaching.
	for call in mount signalfd4; do
		strace -o /dev/null -e inject=$call:delay_exit=2000000 "$GPTQFS" -f "$model" "$mnt" 2>"$BATS_TEST_TMPDIR/log" 3>&- &
		tracer=$!
		wait_until 20 is_mounted "$mnt"
		kill -TERM "$(pgrep -P "$tracer")"
		wait "$tracer" || fail "$call: exit $?"
		not_mounted "$mnt" || fail "$call: a mount is left: $(cat "$BATS_TEST_TMPDIR/log")"
	done
}

# starts_a_server TRACER: true when the helper that it traces has a child; sets $helper.
starts_a_server() {
	helper=$(pgrep -P "$1")
	[[ $helper && $(cat "/proc/$helper/task/$helper/children" 2>/dev/null) ]]
}

@test "SIGUSR1 while the model is being opened waits until there are counters" {
	make_checkpoint plain
	mkdir "$mnt"
	need_strace
	in_background strace -f -o /dev/null -e trace=openat2 -e inject=openat2:delay_enter=100000 \
		"$GPTQFS" -f "$model" "$mnt" 2>"$BATS_TEST_TMPDIR/log"
	wait_until 20 starts_a_server "$process"
	kill -USR1 "$helper"
	wait_until 20 is_mounted "$mnt"
	wait_until 20 grep -q "^gptqfs: .*reads" "$BATS_TEST_TMPDIR/log"
	kill -TERM "$helper"
	wait "$process"
}

@test "a signal to the process that the shell waits for reaches the server" {
	make_checkpoint plain
	mkdir "$mnt"
	for i in {1..10}; do
		"$GPTQFS" "$model" "$mnt" 2>"$BATS_TEST_TMPDIR/log" 3>&- &
		server=$! status=0
		until is_mounted "$mnt" || is_gone "$server"; do :; done
		kill -TERM "$server" 2>/dev/null || true
		wait "$server" || status=$?
		# Too late: mounted as usual. In time: nothing is left.
		if [[ $status = 0 ]]; then
			"$GPTQFS" -u "$mnt" 2>/dev/null || wait_until 10 not_mounted "$mnt"
		else
			[[ $status = 4 || $status = 143 ]] || fail "round $i: status $status"
		fi
		not_mounted "$mnt" || fail "round $i: a mount is left: $(cat "$BATS_TEST_TMPDIR/log")"
	done
}

@test "a missing /dev/null is reported" {
	need_namespace
	run -5 --separate-stderr in_private bash -c 'mount -t tmpfs none /dev && exec "$@"' bash "$GPTQFS" --version
	[[ $stderr = *"/dev/null: No such file"* ]]
}

@test "SIGUSR1 logs the counters" {
	make_checkpoint plain
	mount_foreground "$BATS_TEST_TMPDIR/log" "$model" "$mnt"
	cat "$mnt/fp16/model.safetensors" >/dev/null
	kill -USR1 "$server"
	wait_until 10 grep -q "reads [1-9][0-9]*, .*errors 0" "$BATS_TEST_TMPDIR/log"
	[[ -e $mnt/fp16/config.json ]]
}

@test "-d shows requests, and a missing name is looked up once" {
	make_checkpoint plain
	mount_foreground "$BATS_TEST_TMPDIR/log" -d -o view=fp16 "$model" "$mnt"
	before=$(grep -c LOOKUP "$BATS_TEST_TMPDIR/log" || true)
	for i in 1 2 3; do
		run ! stat "$mnt/adapter_config.json"
	done
	[[ $(grep -c LOOKUP "$BATS_TEST_TMPDIR/log") = $((before + 1)) ]]
}

@test "called by mount(8) and fstab" {
	need_root
	make_checkpoint plain
	mkdir "$mnt"
	# The command of "mount -t fuse.gptqfs", which adds options such as rw, dev and suid.
	PATH=$PATH:/sbin:/usr/sbin mount.fuse3 "$GPTQFS#$model" "$mnt" -o rw,view=fp16 3>&-
	is_mounted "$mnt"
	grep -q " $mnt ro,nosuid,nodev" /proc/self/mountinfo
	cmp "$mnt/tokenizer.json" "$model/tokenizer.json"
}
