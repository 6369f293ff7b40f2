#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# What a process that reads a model cannot do, seen from inside (try.c), and that the mount goes away with its server.

load lib

setup_file() {
	mnt=$BATS_FILE_TMPDIR/mnt
	model=$BATS_FILE_TMPDIR/model
	sanitized && return
	make_checkpoint plain
	mkdir "$mnt"
	"$GPTQFS" "$model" "$mnt" 3>&-
	export AVAILABLE
	AVAILABLE=$(in_force)
	fusermount3 -u "$mnt"
}

setup() {
	mnt=$BATS_TEST_TMPDIR/mnt
	model=$BATS_FILE_TMPDIR/model
	expected=$model
	watch_sanitizers
	sanitized && skip "there is no sandbox with sanitizers"
	mkdir "$mnt"
	export TRY_FILE=$model/tokenizer.json TRY_MOUNT=$mnt
	unset TRY_SECCOMP TRY_LANDLOCK TRY_EXPORT TRY_MESSAGES TRY_HANG TRY_LINK
	NORMAL=$GPTQFS
	GPTQFS=$(dirname "$GPTQFS")/gptqfs-try
}

# in_force: what status says.
in_force() {
	sed -n 's/^Sandbox: *//p' "$mnt/status"
}

# with_landlock, with_seccomp: skips where the kernel or the container has none.
with_landlock() {
	[[ $AVAILABLE = "landlock "[1-9]* ]] || skip "no landlock: $AVAILABLE"
}

with_seccomp() {
	[[ $AVAILABLE = *seccomp && $AVAILABLE != *"no seccomp"* ]] || skip "no seccomp: $AVAILABLE"
}

# mount_here ARGUMENT...: at $mnt. Sets $server and $helper.
mount_here() {
	"$GPTQFS" "$@" "$mnt" 3>&-
	server=$(sed -n 's/^Pid: *//p' "$mnt/status")
	find_helper
}

# try NAME: makes one try in the server, and prints its result.
try() {
	getfattr --only-values --absolute-names -n "user.gptqfs.try.$1" "$mnt"
}

# tries WORD...: NAME=ERROR each.
tries() {
	local word error

	for word; do
		error=$(try "${word%%=*}")
		[[ $error = "${word#*=}" ]] || fail "${word%%=*}: $error"
	done
}

all_refused=(read=ENOSYS list=ENOSYS create=ENOSYS write=ENOSYS remove=ENOSYS connect=ENOSYS exec=ENOSYS mount=ENOSYS
	unmount=ENOSYS ptrace=ENOSYS signal=ENOSYS fork=EPERM code=EPERM)

# ---- what is refused ----

@test "the server opens, writes, starts and mounts nothing, and reaches nobody" {
	with_landlock
	with_seccomp
	mount_here "$model"
	[[ $(in_force) = "landlock "[1-9]*", seccomp" && $(sed -n "s/^Sandbox: *//p" "$mnt/info") = "$(in_force)" ]]
	tries "${all_refused[@]}"
	is_running "$server"
	compare_views "$mnt"
	run -0 grep -E "^(CapPrm|NoNewPrivs):" "/proc/$server/status"
	# CAP_SYS_RESOURCE at most, for pipes.
	[[ $output =~ CapPrm:[[:blank:]]+000000000[01]000000 && $output =~ NoNewPrivs:[[:blank:]]+1 ]] || fail "$output"
}

@test "landlock alone refuses files, programs, mounts and tracing" {
	with_landlock
	TRY_SECCOMP=none mount_here "$model"
	[[ $(in_force) = "landlock "*" (no seccomp: not in this kernel)" ]] || fail "$(in_force)"
	tries read=EACCES list=EACCES create=EACCES write=EACCES remove=EACCES exec=EACCES mount=EPERM unmount=EPERM \
		ptrace=EPERM fork=done
	[[ $(in_force) != "landlock "[4-9]* ]] || tries connect=EACCES
	[[ $(in_force) != "landlock "[6-9]* ]] || tries signal=EPERM
}

@test "seccomp alone refuses all of it" {
	with_seccomp
	TRY_LANDLOCK=none mount_here "$model"
	[[ $(in_force) = "seccomp (no landlock: not in this kernel)" ]] || fail "$(in_force)"
	tries "${all_refused[@]}"
}

@test "without a sandbox nothing is refused, and status says so" {
	mount_here -o sandbox=no "$model"
	[[ $(in_force) = "none (sandbox=no)" ]]
	tries read=done list=done fork=done code=done
	run -1 "$GPTQFS" -o sandbox=perhaps "$model" "$mnt"
}

@test "a driver may read and use devices, but change no file" {
	with_landlock
	mount_here -o "accel=$(dirname "$GPTQFS")/fake/slow.so" "$model"
	[[ $(in_force) = "landlock "*" (accel needs more than seccomp allows)" ]] || fail "$(in_force)"
	tries read=done create=EACCES write=EACCES remove=EACCES mount=EPERM unmount=EPERM ptrace=EPERM
}

# under_filter CALL=ERRNO... -- COMMAND...: in a container that refuses these calls.
under_filter() {
	python3 -S - "$@" <<'END'
import ctypes, os, platform, struct, sys

numbers = {"x86_64": {"landlock": 444, "seccomp": 317}, "aarch64": {"landlock": 444, "seccomp": 277}}[platform.machine()]
load, equal, give = 0x20, 0x15, 0x06
code = [(load, 0, 0, 0)]
at = sys.argv.index("--")
for word in sys.argv[1:at]:
    call, error = word.split("=")
    code += [(equal, 0, 1, numbers[call]), (give, 0, 0, 0x00050000 | int(error))]
code = b"".join(struct.pack("HBBI", *c) for c in code + [(give, 0, 0, 0x7FFF0000)])
text = ctypes.create_string_buffer(code)
program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(text)))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, program):
    sys.exit(f"seccomp: {os.strerror(ctypes.get_errno())}")
os.execv(sys.argv[at + 1], sys.argv[at + 1:])
END
}

@test "a kernel without landlock, a container without seccomp: it runs and says so, and sandbox=yes does not run" {
	need_root
	with_landlock
	with_seccomp
	for words in "landlock=38 seccomp=1|none (landlock: not in this kernel; seccomp: Operation not permitted)" \
		"landlock=95|seccomp (no landlock: disabled in this kernel)" \
		"seccomp=1|landlock * (no seccomp: Operation not permitted)"; do
		under_filter ${words%|*} -- "$NORMAL" "$model" "$mnt" 3>&-
		[[ $(in_force) = ${words#*|} ]] || fail "$(in_force)"
		compare_view "$mnt/fp16" F16
		fusermount3 -u "$mnt"
		run -5 under_filter ${words%|*} -- "$NORMAL" -o sandbox=yes "$model" "$mnt"
		[[ $output = "gptqfs: sandbox=yes: the kernel, or a container, does not allow all of it: "${words#*|} ]] ||
			fail "$output"
		not_mounted "$mnt"
	done
}

# ---- what is needed ----

# In these, any call that is on no list ends the process.

# in_memory: an export's fsync is not what these tests are about. Sets $out.
in_memory() {
	[[ ! -w /dev/shm ]] || TMPDIR=/dev/shm
	out=$(TMPDIR=$TMPDIR mktemp -d)
	places+=("$out")
}

# live ARGUMENT...: a mount from beginning to end, and all files of it.
live() {
	mount_here -o sandbox=yes "$@"
	find "$mnt" -type f -print0 | xargs -0 -P 4 -n 20 cat >"$BATS_TEST_TMPDIR/all"
	[[ $(stat -c %s "$BATS_TEST_TMPDIR/all") -gt 100000 ]]
	getfattr -R -d -m - "$mnt" >/dev/null
	kill -USR1 "$server"
	exec 9<"$mnt/status"
	kill -TERM "$server"
	wait_until 10 not_mounted "$mnt"
	grep -q ^Sandbox <&9
	exec 9<&-
	wait_until 10 is_gone "$helper"
}

@test "a whole life needs no other system call, with every family" {
	with_seccomp
	export TRY_SECCOMP=kill
	in_memory
	for name in tiny-llama-4b-g32-shard awq-gemm-g32 ct-bits-2to7 gemma-int248 hqq-2b-g16-axis0-qwen2 mlx-moe-qwen3 f-bnb-gpt2 \
		f-fp8-dsv3-shards f-mxfp4-gptoss; do
		find_model "$name"
		live "$source"
		run -0 "$GPTQFS" -q -o sandbox=yes --export="$out/$name" "$source"
		[[ -s $out/$name/config.json ]]
	done
	# The hook does end it.
	mount_here "$model"
	run ! try read
	wait_until 10 not_mounted "$mnt"
}

gave_back() {
	[[ $(try trims) -gt 0 ]]
}

@test "nor do direct reads, statistics, giving back memory, adapters" {
	with_seccomp
	export TRY_SECCOMP=kill
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-bias-all
	mkdir "$BATS_TEST_TMPDIR/adapters"
	ln -s "$adapter" "$BATS_TEST_TMPDIR/adapters/linked"
	mount_here -o "sandbox=yes,loras=$BATS_TEST_TMPDIR/adapters" "$source"
	compare_views "$mnt"
	dd if="$mnt/fp16/config.json" of=/dev/null bs=4096 iflag=direct status=none
	df "$mnt" >/dev/null
	wait_until 10 gave_back
	compare_view "$mnt/fp16" F16
	cat "$mnt/lora/linked/fp16/model.safetensors" >/dev/null
	unmount "$mnt"
	live -o "lora=$adapter:0.5" "$source"
}

@test "nor does serving the page cache of EROFS" {
	with_seccomp
	export TRY_SECCOMP=kill
	for name in tiny-llama-4b-g32-shard f-mxfp4-gptoss; do
		find_model "$name"
		run "$GPTQFS" -o sandbox=yes,pagecache=erofs "$source" "$mnt" 3>&-
		((status != 4)) || skip "$output"
		compare_view "$mnt/fp16" F16
		find "$mnt" -type f -print0 | xargs -0 -P 4 -n 20 cat >/dev/null
		getfattr -R -d -m - "$mnt" >/dev/null
		[[ $(sed -n 's/^Sandbox: *//p' "$mnt/info") = "$AVAILABLE" ]]
		find_server "$mnt"
		kill -USR1 "$server"
		compare_view "$mnt/bf16" BF16
		kill -TERM "$server"
		wait_until 10 not_mounted "$mnt"
		wait_until 10 is_gone "$server"
	done
}

@test "what needs no mount is confined, and needs no other system call" {
	with_seccomp
	find_model tiny-llama-4b-g32-shard
	export TRY_SECCOMP=kill
	run -0 "$GPTQFS" -o sandbox=yes --check "$source"
	[[ $output = *"Sandbox: "*", seccomp"* ]]
	run -0 "$GPTQFS" -o sandbox=yes --check --json -q "$source"
	run -0 "$GPTQFS" -o sandbox=yes --ls=fp16 "$source"
	run -0 "$GPTQFS" -o sandbox=yes --stats --against="$source" "$source"
	"$GPTQFS" -o sandbox=yes --cat=fp16/config.json "$source" | jq . >/dev/null
	"$GPTQFS" -o sandbox=yes --export=- "$source" | tar -t >/dev/null
	# With a progress bar.
	run -0 script -qec "$GPTQFS -o sandbox=yes --check --sha256 $source >/dev/null" /dev/null
}

@test "an export writes to its directory and nowhere else, and needs no other system call" {
	with_landlock
	with_seccomp
	find_model tiny-llama-4b-g32-shard
	in_memory
	out+=/out
	TRY_EXPORT=1 "$GPTQFS" -q -o sandbox=yes --export="$out" "$source" >"$BATS_TEST_TMPDIR/tried"
	run ! grep -vE "^(read|list|create|write)=EACCES$|^(remove|connect|exec|mount|unmount|ptrace|signal)=ENOSYS$|^(fork|code)=EPERM$" \
		"$BATS_TEST_TMPDIR/tried"
	[[ $(wc -l <"$BATS_TEST_TMPDIR/tried") = 13 ]]
	compare_view "$out" F16
	export TRY_SECCOMP=kill
	run -0 "$GPTQFS" -o sandbox=yes --export="$out" --verify --force "$source"
	rm "$out/config.json"
	echo "gptqfs export 1" >"$out/.gptqfs-export"
	mv "$out/model.safetensors" "$out/.gptqfs-part-1"
	run -0 "$GPTQFS" -o sandbox=yes --export="$out" "$source"
	run -0 "$GPTQFS" -o sandbox=yes --export="$out/tensors" -o view=tensors "$source"
	compare_view "$out" F16
	# One that is refused leaves nothing.
	run -2 "$GPTQFS" -o sandbox=yes --export="$BATS_TEST_TMPDIR/new/" "$TESTS/data"
	[[ ! -e $BATS_TEST_TMPDIR/new ]]
	cp -r "$model" "$BATS_TEST_TMPDIR/copy"
	run -1 "$GPTQFS" -o sandbox=yes --export="$BATS_TEST_TMPDIR/copy/sub" "$BATS_TEST_TMPDIR/copy"
	[[ $output = *"in the directory of the model"* && ! -e $BATS_TEST_TMPDIR/copy/sub ]]
}

@test "links of a cache entry lead to its blobs" {
	with_landlock
	model=$BATS_TEST_TMPDIR/model
	make_checkpoint hf_cache
	for entry in "$model" "$model"/snapshots/*; do
		mount_here -o sandbox=yes "$entry"
		compare_view "$mnt/fp16" F16
		unmount "$mnt"
	done
}

@test "a command is not confined" {
	run -0 "$GPTQFS" "$model" "$mnt" -- grep NoNewPrivs /proc/self/status
	[[ $output =~ NoNewPrivs:[[:blank:]]+0 ]]
}

@test "another user, through fusermount3" {
	need_namespace
	with_landlock
	public_directory
	cp -r "$model" "$dir/model"
	cp "$NORMAL" "$dir/gptqfs"
	chmod -R a+rX "$dir/model"
	mkdir "$dir/mnt"
	chown nobody "$dir/mnt"
	run -0 in_private bash -c 'mount -t tmpfs none /mnt && mknod -m 666 /mnt/fuse c 10 229 && mount --bind /mnt/fuse /dev/fuse &&
		setpriv --reuid=65534 --regid=65534 --clear-groups "$@"' bash "$dir/gptqfs" -o sandbox=yes "$dir/model" "$dir/mnt" -- \
		sh -c "cat $dir/mnt/status; cmp $dir/mnt/fp16/tokenizer.json $dir/model/tokenizer.json" 3>&-
	[[ $output = *"Sandbox:"*"landlock "*", seccomp"* ]] || fail "$output"
}

# ---- the helper ----

@test "the helper and its deputy are small, and the mount of a server that was killed is removed" {
	mount_here "$model"
	cat "$mnt"/fp16/* >/dev/null
	small=$(awk '/^Pss_Anon:/ { sum += $2 } END { print sum }' "/proc/$helper/smaps_rollup" "/proc/$deputy/smaps_rollup")
	((small > 0 && small < 300)) || fail "$small kB"
	kill -KILL "$server"
	wait_until 10 not_mounted "$mnt"
	wait_until 10 is_gone "$helper"
}

@test "a server that closes the channel is ended" {
	mount_here "$model"
	# It may not live to answer.
	run try hang_up
	wait_until 10 not_mounted "$mnt"
	wait_until 10 is_gone "$helper"
	is_gone "$server"
}

# has_deputy PROCESS: sets $next.
has_deputy() {
	next=$(cat "/proc/$1/task/$1/children")
	[[ $next ]]
}

@test "a helper that is killed takes nothing away: its deputy removes the mount, however the server ends" {
	local sig

	for sig in TERM INT KILL; do
		mount_here "$model"
		kill -KILL "$helper"
		cmp "$mnt/fp16/tokenizer.json" "$model/tokenizer.json"
		kill "-$sig" "$server"
		wait_until 10 not_mounted "$mnt"
		wait_until 10 is_gone "$server"
		wait_until 10 is_gone "$deputy"
	done
	# By another program.
	mount_here "$model"
	kill -KILL "$helper"
	unmount "$mnt"
	wait_until 10 is_gone "$deputy"
	# Both at once.
	mount_here "$model"
	kill -KILL "$helper" "$server"
	wait_until 10 not_mounted "$mnt"
	wait_until 10 is_gone "$deputy"
}

@test "a deputy has a deputy, and goes on for those that have files open" {
	local next

	mount_here "$model"
	exec 9<"$mnt/fp16/tokenizer.json"
	kill -KILL "$helper"
	wait_until 10 has_deputy "$deputy"
	kill -KILL "$deputy"
	kill -TERM "${next% }"
	wait_until 10 not_mounted "$mnt"
	is_running "$server"
	cmp - "$model/tokenizer.json" <&9
	exec 9<&-
	wait_until 10 is_gone "${next% }"
	is_gone "$server"
}

@test "killing the process in the foreground removes the mount" {
	mount_foreground "$BATS_TEST_TMPDIR/log" "$model" "$mnt"
	cat "$mnt"/fp16/* >/dev/null
	kill -KILL "$helper"
	wait_until 10 not_mounted "$mnt"
	wait_until 10 is_gone "$server"
	grep -q "the helper was killed; its deputy goes on" "$BATS_TEST_TMPDIR/log"
}

@test "a log that nobody reads any more ends neither the helper nor its deputies" {
	mkdir -p "$mnt"
	# The reader of the log ends at once.
	env --default-signal=PIPE "$GPTQFS" -f "$model" "$mnt" 2> >(:) 3>&- &
	helper=$!
	wait_until 20 is_ready "$mnt"
	find_server "$mnt"
	find_helper
	kill -KILL "$helper"
	wait_until 10 is_gone "$deputy"
	not_mounted "$mnt"
	is_gone "$server"
	# Each deputy started another one and ended.
	run ! grep -ls "$model" /proc/[0-9]*/cmdline
}

@test "no message brings back a mount by EROFS, or ends its server" {
	export TRY_MESSAGES=1
	run "$GPTQFS" -o pagecache=erofs "$model" "$mnt" 3>&-
	((status != 4)) || skip "$output"
	find_server "$mnt"
	# Messages are sent 20 times a second.
	sleep 0.5
	is_running "$server"
	exec 9<"$mnt/fp16/tokenizer.json"
	kill -TERM "$server"
	wait_until 10 not_mounted "$mnt"
	sleep 0.5
	is_running "$server"
	cmp - "$model/tokenizer.json" <&9
	exec 9<&-
	wait_until 10 is_gone "$server"
}

# waits_for_server: true when the last child of the helper asks the server; sets $server. Or if the helper has ended.
waits_for_server() {
	local children

	is_gone "$helper" && return
	read -ra children <"/proc/$helper/task/$helper/children"
	server=${children[0]}
	((${#children[@]})) && grep -q "^request_wait_answer" "/proc/${children[-1]}/wchan"
}

@test "a server that never answers does not hang the helper" {
	local cache sig

	export TRY_HANG=1
	for cache in fuse erofs; do
		for sig in TERM KILL; do
			in_background "$GPTQFS" -f -o "pagecache=$cache" "$model" "$mnt"
			helper=$process
			wait_until 10 waits_for_server
			[[ $cache = fuse ]] || is_running "$helper" || skip "no EROFS"
			kill -STOP "$server"
			[[ $sig != TERM ]] || kill -TERM "$helper"
			[[ $sig != KILL ]] || kill -KILL "$server"
			wait_until 10 is_gone "$helper"
			wait_until 10 not_mounted "$mnt"
			is_gone "$server"
		done
	done
	# The caller is told.
	in_background "$GPTQFS" "$model" "$mnt"
	wait_until 10 is_mounted "$mnt"
	kill -TERM "$process"
	wait "$process" || status=$?
	((status == 4))
	not_mounted "$mnt"
}

@test "no link makes the helper open another file than the image" {
	run "$GPTQFS" -o pagecache=erofs "$model" "$mnt" -- true
	((status != 4)) || skip "$output"
	TRY_LINK=/ run -4 "$GPTQFS" -o pagecache=erofs "$model" "$mnt"
	[[ $output = *"Too many levels of symbolic links"* ]] || fail "$output"
}

@test "one signal to both processes is one request" {
	mount_here "$model"
	exec 9<"$mnt/fp16/tokenizer.json"
	kill -TERM "$server" "$helper"
	wait_until 10 not_mounted "$mnt"
	# The server answers when it has handled its signal too.
	cmp - "$model/tokenizer.json" <&9
	is_running "$server"
	exec 9<&-
	wait_until 10 is_gone "$helper"
}

@test "a signal at any moment of starting, to any of the processes, leaves no mount" {
	seed=${SEED:-$RANDOM}
	echo "SEED=$seed"
	run python3 -S - "$seed" "$NORMAL" "$model" "$mnt" <<'END'
import os, random, signal, subprocess, sys, time

seed, *command = sys.argv[1:]
random.seed(int(seed))
mnt = command[-1]

def mounted():
    return any(line.split(" ")[4] == mnt for line in open("/proc/self/mountinfo", errors="surrogateescape", newline="\n"))

def family(pid):
    pids = [pid]
    for each in pids:
        try:
            pids += map(int, open(f"/proc/{each}/task/{each}/children").read().split())
        except OSError:
            pass
    # A deputy does nothing until the helper is killed, and mount(8), which libfuse runs, nothing at all.
    return [each for each in pids if names(each) not in idle]

# Of parent and process; a deputy at first has the helper's.
idle = [("gptqfs-helper", name) for name in ("gptqfs-helper", "gptqfs-deputy", "mount")]

def names(pid):
    def name(of):
        return open(f"/proc/{of}/comm").read().strip()
    try:
        parent = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1]
        return name(parent), name(pid)
    except OSError:
        return None

# A shell has its background jobs ignore it, and so would the server, until it is mounted.
signal.signal(signal.SIGINT, signal.SIG_DFL)
began = time.monotonic()
subprocess.run(command + ["--", "true"], check=True)
usual = time.monotonic() - began
for i in range(24):
    quick = random.choice([["-f"], []])
    cache = random.choice([[], ["-o", "pagecache=erofs"]])
    p = subprocess.Popen(command[:1] + quick + cache + command[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(random.uniform(0, usual))
    pids = family(p.pid)
    target, sig = random.choice(pids), random.choice([signal.SIGTERM, signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
    # It may have left the mount to another by now.
    if sig == signal.SIGKILL and not quick and target == p.pid:
        sig = signal.SIGTERM
    try:
        os.kill(target, sig)
    except OSError:
        # It has ended by itself.
        target = p.pid
        p.terminate()
    try:
        code = p.wait(30)
    except subprocess.TimeoutExpired:
        p.kill()
        sys.exit(f"round {i}: {sig} to process {pids.index(target)} of {len(pids)} had no effect")
    # It had left its mount to the others already.
    if code == 0 and not quick and target == p.pid:
        subprocess.run([command[0], "-u", mnt])
    # If the mount was usable, it is detached after that.
    end = time.monotonic() + 10
    while mounted():
        if time.monotonic() > end:
            sys.exit(f"round {i}: {sig} to process {pids.index(target)} of {len(pids)} left a mount; exit {code}")
        time.sleep(0.02)
END
	[[ $status = 0 ]] || fail "$output"
}
