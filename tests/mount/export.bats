#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# --export: a view as ordinary files, without FUSE. What it writes is compared with expected hashes; and it may end at
# any time and go on.

load lib

setup() {
	out=$BATS_TEST_TMPDIR/out
	model=$BATS_TEST_TMPDIR/model
	mnt=$BATS_TEST_TMPDIR/mnt
	watch_sanitizers
	find_model tiny-llama-4b-g32-shard
}

teardown() {
	chmod -R u+w "$BATS_TEST_TMPDIR"
	end_all
}

# export_view VIEW DIR [OPTION...]: of $source.
export_view() {
	"$GPTQFS" -q --export="$2" -o view="$1" "${@:3}" "$source"
}

# leftovers DIR: names that begin with a dot.
leftovers() {
	find "$1" -name '.?*' ! -path "$1"
}

# in_memory: $out, where there is such a place.
in_memory() {
	[[ ! -w /dev/shm ]] || TMPDIR=/dev/shm
	export TMPDIR
	public_directory
	out=$dir/out
}

# make_long GB: a sparse model whose view takes some time.
make_long() {
	python3 -S "$TESTS/bench/make_model.py" flat --tensors 12 --view-gb "$1" --sparse "$model" >/dev/null
	source=$model
	in_memory
}

# same_as_mount DIR: the fp16 view of $source.
same_as_mount() {
	mount_model -o view=fp16 "$source" "$mnt"
	diff -r "$mnt" "$1"
}

# when_begun COMMAND GPTQFS ARGUMENT...: runs the shell command when the export has begun and not yet written anything.
# Exits as gptqfs does, and prints what it says. The directory must hold something.
when_begun() {
	python3 - "$out" "$@" <<'END'
import os, subprocess, sys
out, command, *words = sys.argv[1:]
r, w = os.pipe()
# A full pipe holds the program at its first message, which it prints after the checks.
os.set_blocking(w, False)
try:
    while True:
        os.write(w, b"\n" * 65536)
except BlockingIOError:
    os.set_blocking(w, True)
p = subprocess.Popen(words, stderr=w)
os.close(w)
while "pipe_write" not in open(f"/proc/{p.pid}/wchan").read() and p.poll() is None:
    pass
subprocess.run(command, shell=True, check=True)
text = b""
while data := os.read(r, 65536):
    text += data
sys.stdout.buffer.write(text.strip() + b"\n")
sys.exit(p.wait() % 256)
END
}

# stop_early SIGNAL ARGUMENT...: sends an export the signal when it has begun to write. Exits as it does.
stop_early() {
	python3 - "$out" "$@" <<'END'
import os, signal, subprocess, sys, time
out, name, *words = sys.argv[1:]
p = subprocess.Popen(words, stderr=subprocess.PIPE)

def is_writing():
    try:
        return any(e.name.startswith(".gptqfs-part") and e.stat().st_blocks > 1000 for e in os.scandir(out))
    except FileNotFoundError:
        return False

while p.poll() is None and not is_writing():
    time.sleep(0.001)
p.send_signal(getattr(signal, "SIG" + name))
sys.stdout.buffer.write(p.stderr.read())
sys.exit(p.wait() % 256)
END
}

# files_of DIR: name, size and hash of every file, without reading FUSE.
files_of() {
	(cd "$1" && find . -type f ! -name '.gptqfs-*' -print0 | LC_ALL=C sort -z | xargs -0 sha256sum)
}

# child_has_open PROCESS FILE
child_has_open() {
	local fd

	for fd in "/proc/$(pgrep -P "$1")/fd"/*; do
		[[ ! $fd -ef $2 ]] || return 0
	done
	return 1
}

# interrupted_export: $out as after a crash, when all files but the last ones had been written.
interrupted_export() {
	export_view fp16 "$out"
	rm "$out/config.json"
	printf '%s\n' "gptqfs export 1" >"$out/.gptqfs-export"
}

# ---- the bytes ----

# Hides /dev/fuse, as in a container, and exports the three types.
@test "every model in every type, without /dev/fuse" {
	need_namespace
	for source in "$TESTS"/data/{,int/,float/}models/*/; do
		source=${source%/}
		expected=$(dirname "$(dirname "$source")")/expected/$(basename "$source")
		rm -rf "$out"
		mkdir "$out"
		for view in fp16 bf16 fp32; do
			GPTQFS=$GPTQFS source=$source in_private bash -c 'mount -t tmpfs none /dev && mknod /dev/null c 1 3 && exec "$GPTQFS" -q --export="$1" -o view=$2 "$source"' - \
				"$out/$view" $view 3>&- || fail "$source $view"
		done
		compare_views "$out"
		[[ -z $(leftovers "$out") ]]
	done
}

# same_views MOUNT: exports of $source's views are as those there, or refused where one has no more than a README that
# says why. A line for each.
same_views() {
	local view status

	for view in fp16 fused/fp16 fused/bf16 fused/fp32 packed gguf mlx tensors; do
		status=0
		"$GPTQFS" -q --export="$out" -o view="$view" "$source" 2>/dev/null || status=$?
		if [[ ! -d $1/$view || $(ls "$1/$view") = README ]]; then
			[[ $status = 3 && ! -e $out ]] || return
			echo "refused $view"
		else
			[[ $status = 0 ]] && diff -r "$1/$view" "$out" && rm -r "$out" || return
			echo "same $view"
		fi
	done
}

# What a mount has is compared with expected values by other tests.
@test "every view of every model is as in a mount, or refused where that has none" {
	local lines

	in_memory
	export GPTQFS out source
	export -f same_views
	for source in "$TESTS"/data/{,int/,float/,gguf/}models/*/; do
		source=${source%/}
		# Not in this shell, whose traps are slow.
		lines=$("$GPTQFS" "$source" -- bash -c 'same_views {}' 3>&-) || fail "$source" "$lines"
		echo "$source:" $lines
		[[ $lines = *"same fp16"*"same tensors" ]]
		[[ $source != */tiny-llama-4b-g32-shard || $lines != *refused* ]]
	done
}

@test "with an adapter, with one of several, and with a type of tensors/" {
	find_model tiny-qwen2-4b-g64-asym
	local adapters=$TESTS/data/lora/adapters
	export_view bf16 "$out" -o lora="$adapters/qwen2-lora-bias"
	python3 -S "$TESTS/tools/compare.py" "$out" "$TESTS/data/lora/expected/tiny-qwen2-4b-g64-asym+qwen2-lora-bias.BF16.json"
	export_view lora/qwen2-lora-bias/fp32 "$out-2" -o loras="$adapters"
	python3 -S "$TESTS/tools/compare.py" "$out-2" "$TESTS/data/lora/expected/tiny-qwen2-4b-g64-asym+qwen2-lora-bias.F32.json"
	export_view tensors "$out-3" -o dtype=fp32
	mount_model -o view=tensors,dtype=fp32 "$source" "$mnt"
	diff -r "$mnt" "$out-3"
}

@test "files are writable for their owner, and closed to others as the source is" {
	copy_model tiny-llama-4b-g32-shard
	chmod 640 "$model"/*
	umask 022
	"$GPTQFS" -q --export="$out" "$model"
	[[ $(stat -c %a "$out/model.safetensors") = 640 ]]
	umask 077
	"$GPTQFS" -q --export="$out-2" "$model"
	[[ $(stat -c %a "$out-2/model.safetensors") = 600 && $(stat -c %a "$out-2") = 700 ]]
}

@test "one thread, many threads, and --verify write the same" {
	export_view fp16 "$out"
	for options in "-j 1" "-j7" "--verify -j 3"; do
		rm -rf "$out-2"
		export_view fp16 "$out-2" $options
		diff -r "$out" "$out-2"
	done
}

# ---- the directory ----

@test "a directory that holds something is refused, and --force replaces files of the same name" {
	mkdir "$out"
	echo mine >"$out/notes"
	echo old >"$out/config.json"
	ln -s "$BATS_TEST_TMPDIR/elsewhere" "$out/model.safetensors"
	run -1 --separate-stderr "$GPTQFS" --export="$out" "$source"
	[[ $stderr = *"not empty"*--force* ]]
	[[ $(ls -A "$out" | wc -l) = 3 ]]
	run -0 --separate-stderr "$GPTQFS" --export="$out" --force "$source"
	[[ $stderr = *"$out/notes does not belong to this export and is kept"* ]]
	[[ $(<"$out/notes") = mine && ! -e $BATS_TEST_TMPDIR/elsewhere && ! -L $out/model.safetensors ]]
	compare_view "$out" F16
	[[ -z $(leftovers "$out") ]]
}

@test "weights that programs would load instead are refused, with --force too" {
	export_view fp16 "$out" -o shard=100k
	for shard in 5g 200k; do
		run -1 --separate-stderr "$GPTQFS" --export="$out" --force -o shard=$shard "$source"
		[[ $stderr = *"$out/model"*": other weights of the same name"* ]] || fail "$stderr"
	done
	compare_view "$out" F16
	rm "$out"/model*
	export_view fp32 "$out" --force
	cp "$out/model.safetensors" "$out/adapter_model.safetensors"
	run -1 "$GPTQFS" --export="$out" --force -o shard=100k "$source"
	[[ $output = *"$out/model.safetensors: other weights"* ]]
	export_view bf16 "$out" --force
	cmp "$out/adapter_model.safetensors" <("$GPTQFS" --cat=fp32/model.safetensors "$source")
}

@test "a new directory is made, but not its parents" {
	run -5 --separate-stderr "$GPTQFS" --export="$out/a/b" "$source"
	[[ $stderr = *"parent"*mkdir* && ! -e $out ]]
	export_view fp16 "$out"
	compare_view "$out" F16
}

@test "never into the model's own directory" {
	copy_model tiny-llama-4b-g32-shard
	before=$(files_of "$model")
	for dir in "$model" "$model/sub" "$model/../model"; do
		run -1 --separate-stderr "$GPTQFS" --force --export="$dir" "$model"
		[[ $stderr = *"in the directory of the model"* ]]
	done
	# Nor by a directory of the view that the model happens to be.
	run -5 --separate-stderr "$GPTQFS" --force --export="$BATS_TEST_TMPDIR" -o view=tensors "$model"
	[[ $(files_of "$model") = "$before" && ! -e $model/sub && -z $(leftovers "$model") ]]
}

@test "refused before anything is written: no model, no such view, usage" {
	run -2 "$GPTQFS" --export="$out" "$BATS_TEST_TMPDIR"
	run -1 "$GPTQFS" --export="$out" -o view=fp17 "$source"
	run -3 "$GPTQFS" --export="$out" -o view=packed "$TESTS/data/float/models/f-fp8-experts-3d"
	run -1 "$GPTQFS" --export="$out" "$source" "$mnt"
	[[ $output = *"mounts nothing"* ]]
	run -1 "$GPTQFS" --force "$source" "$mnt"
	[[ $output = *"--force goes with --export"* ]]
	run -1 "$GPTQFS" --export="$out" -j 257 "$source"
	run -1 "$GPTQFS" --export="$out" --check "$source"
	[[ ! -e $out ]]
}

# ---- failing ----

# with_small SIZE COMMAND...: in a private namespace, where $out is a tmpfs of that size.
with_small() {
	mkdir -p "$out"
	SIZE=$1 in_private bash -c 'mount -t tmpfs -o size=$SIZE none "$0" && exec "$@"' "$out" "${@:2}" 3>&-
}

@test "too little space is told before anything is written" {
	need_namespace
	run -5 with_small 400k bash -c '"$0" --export="$1" "$2"; code=$?; ls -A "$1"; exit $code' "$GPTQFS" "$out" "$source"
	[[ $output = *"needs 8"*" kB, but "*" are free there" ]] || fail "$output"
}

@test "a disk that becomes full: exit 5, and the same command goes on when there is room" {
	need_namespace
	interrupted_export
	rm "$out/model.safetensors"
	export -f when_begun
	export GPTQFS
	run -0 in_private bash -c '
		source=$2
		mount -t tmpfs -o size=1m none /mnt && cp -r "$1/." /mnt || exit
		out=/mnt
		when_begun "head -c 500000 /dev/zero >/mnt/model.safetensors.big || :" "$GPTQFS" --force --export=/mnt "$source"
		[ $? = 5 ] && [ ! -e /mnt/config.json ] || exit 9
		rm /mnt/model.safetensors.big
		"$GPTQFS" --export=/mnt "$source" && cp -r /mnt "$1-copy"' bash "$out" "$source" 3>&-
	[[ $output = *"No space left"*"not a model yet: "*" of 5 files"*"the same command continues"* ]] || fail "$output"
	compare_view "$out-copy" F16
}

@test "a limit of file sizes: exit 5" {
	run -5 prlimit --fsize=300000 "$GPTQFS" --export="$out" "$source"
	[[ $output = *"model.safetensors cannot be written: File too large"* && ! -e $out/config.json ]] || fail "$output"
}

@test "too few descriptors: exit 5, and a message that says so" {
	sanitized && skip "sanitizers need some"
	for limit in {5..16}; do
		run -5 bash -c 'ulimit -n $1; exec "$0" --export="$2" "$3"' "$GPTQFS" "$limit" "$out" "$source" 3>&-
		[[ $output = *"Too many open files"* ]] || fail "$limit: $output"
	done
	run -0 "$GPTQFS" --export="$out" "$source"
	compare_view "$out" F16
}

@test "a target that cannot be written: exit 5, and nothing there" {
	need_namespace
	mkdir "$out"
	run -5 in_private bash -c 'mount -t tmpfs -o ro none "$1" && "$0" --export="$1" "$2"' "$GPTQFS" "$out" "$source" 3>&-
	[[ $output = *"Read-only file system"* ]]
	run -5 in_private bash -c 'mount -t tmpfs -o ro none "$1" && "$0" --export="$1/new" "$2"' "$GPTQFS" "$out" "$source" 3>&-
	[[ -z $(ls -A "$out") ]]
}

@test "a source that is truncated meanwhile: exit 5, no config.json" {
	copy_model tiny-llama-4b-g32-shard
	interrupted_export
	run -5 when_begun "truncate -s 100 '$model'/*.safetensors" "$GPTQFS" --export="$out" "$model"
	[[ $output = *"cannot be computed"*"not a model yet"* && ! -e $out/config.json ]] || fail "$output"
}

@test "--verify finds a byte that the disk has not kept: exit 5, no config.json" {
	make_long 0.4
	run -5 python3 - "$out" "$GPTQFS" --verify --export="$out" "$source" <<'END'
import os, signal, subprocess, sys, time
weights = sys.argv[1] + "/model.safetensors"
p = subprocess.Popen(sys.argv[2:], stderr=subprocess.PIPE)
# It has its name, and is being read back.
while p.poll() is None and not os.path.exists(weights):
    time.sleep(0.001)
p.send_signal(signal.SIGSTOP)
with open(weights, "r+b") as f:
    f.seek(-1, os.SEEK_END)
    f.write(b"x")
p.send_signal(signal.SIGCONT)
sys.stdout.buffer.write(p.stderr.read())
sys.exit(p.wait() % 256)
END
	[[ $output = *"model.safetensors does not have the bytes that were written"* && ! -e $out/config.json ]] || fail "$output"
	run -0 "$GPTQFS" --verify --export="$out" "$source"
	same_as_mount "$out"
}

# ---- going on ----

@test "killed, interrupted by SIGINT and SIGTERM, and continued each time: the same files" {
	make_long 0.4
	run -247 stop_early KILL "$GPTQFS" --export="$out" "$source"
	[[ ! -e $out/config.json && -e $out/.gptqfs-export ]]
	for signal in INT TERM; do
		rm "$out"/.gptqfs-part-*
		run "-$((128 + $(kill -l $signal)))" stop_early $signal "$GPTQFS" --export="$out" "$source"
		[[ $output = *continuing*interrupted*"the same command continues it"* && ! -e $out/config.json ]] || fail "$output"
	done
	run -0 --separate-stderr "$GPTQFS" --export="$out" "$source"
	[[ $stderr = *"continuing"* ]] || fail "$stderr"
	[[ -z $(leftovers "$out") ]]
	same_as_mount "$out"
}

@test "what is there is compared, not believed: bytes, sizes, and a journal that lies or is damaged" {
	export_view fp16 "$out-good"
	for journal in "" "gptqfs export 1" "$(head -c 100000 /dev/urandom | base64)"; do
		rm -rf "$out"
		interrupted_export
		printf '%s' "$journal" >"$out/.gptqfs-export"
		printf 'x' | dd of="$out/model.safetensors" bs=1 seek=500000 conv=notrunc status=none
		truncate -s 100 "$out/tokenizer.json"
		truncate -s +100 "$out/tokenizer_config.json"
		run -0 --separate-stderr "$GPTQFS" --export="$out" "$source"
		[[ $stderr = *"starting over"* ]]
		diff -r "$out-good" "$out"
		[[ -z $(leftovers "$out") ]]
	done
}

@test "the source or the view has changed between two runs: it starts over" {
	copy_model tiny-llama-4b-g32-shard
	source=$model
	interrupted_export
	# A byte of the last norm.
	printf '\x01' | dd of="$(ls "$model"/*.safetensors | tail -1)" bs=1 seek=$(($(stat -c %s "$(ls "$model"/*.safetensors | tail -1)") - 2)) conv=notrunc status=none
	run -0 --separate-stderr "$GPTQFS" --export="$out" "$model"
	[[ $stderr = *"starting over"* ]]
	same_as_mount "$out"
	cp -r "$out" "$out-2"
	: >"$out-2/.gptqfs-export"
	run -0 --separate-stderr "$GPTQFS" --export="$out-2" -o view=fp32 "$model"
	export_view fp32 "$out-3"
	diff -r "$out-3" "$out-2"
}

@test "an unfinished export with files of another: refused, and with --force they stay" {
	interrupted_export
	echo mine >"$out/notes"
	run -1 --separate-stderr "$GPTQFS" --export="$out" "$source"
	[[ $stderr = *"$out/notes does not belong to this export"*--force* ]]
	run -0 "$GPTQFS" --export="$out" --force "$source"
	[[ $(<"$out/notes") = mine ]]
}

@test "two exports into one directory: the second is refused" {
	interrupted_export
	exec 8<>"$out/.gptqfs-export"
	flock 8
	run -5 --separate-stderr "$GPTQFS" --export="$out" "$source" 8>&-
	exec 8>&-
	[[ $stderr = *"another export is writing there"* && -e $out/.gptqfs-export ]]
	run -0 "$GPTQFS" --export="$out" "$source"
}

@test "a journal that was removed before it could be locked is not gone on with" {
	need_strace
	interrupted_export
	in_background strace -f -o /dev/null -e trace=flock -e inject=flock:delay_enter=1000000 \
		"$GPTQFS" --export="$out" "$source" 2>"$BATS_TEST_TMPDIR/log"
	wait_until 20 child_has_open "$process" "$out/.gptqfs-export"
	rm "$out/.gptqfs-export"
	status=0
	wait "$process" || status=$?
	[[ $status = 5 && $(<"$BATS_TEST_TMPDIR/log") = *"another export has just ended; try again" ]]
}

@test "a file system that shows all files as another user's, as many of a network do" {
	GPTQFS=$(dirname "$GPTQFS")/gptqfs-try
	export TRY_OWNER=1000
	interrupted_export
	run -0 "$GPTQFS" --export="$out" "$source"
	[[ $output = *"starting over"* && -z $(leftovers "$out") ]] || fail "$output"
	compare_view "$out" F16
}

# ---- a directory prepared by an attacker ----

@test "links in the directory are not followed" {
	mkdir "$BATS_TEST_TMPDIR/victim"
	echo precious >"$BATS_TEST_TMPDIR/victim/file"
	# The journal.
	mkdir "$out"
	ln -s ../victim/file "$out/.gptqfs-export"
	run -5 "$GPTQFS" --export="$out" "$source"
	run -5 "$GPTQFS" --export="$out" --force "$source"
	rm "$out/.gptqfs-export"
	ln "$BATS_TEST_TMPDIR/victim/file" "$out/.gptqfs-export"
	run -5 "$GPTQFS" --export="$out" --force "$source"
	rm "$out/.gptqfs-export"
	mkfifo "$out/.gptqfs-export"
	run -5 timeout 10 "$GPTQFS" --export="$out" --force "$source"
	rm "$out/.gptqfs-export"
	# Files under their names and their dot names, links of both kinds and a FIFO.
	: >"$out/.gptqfs-export"
	ln -s ../victim/file "$out/model.safetensors"
	ln "$BATS_TEST_TMPDIR/victim/file" "$out/tokenizer.json"
	ln -s ../victim/new "$out/config.json"
	mkfifo "$out/generation_config.json"
	for i in 1 2 3 4; do
		ln -s ../victim/file "$out/.gptqfs-part-$i"
	done
	mkfifo "$out/.gptqfs-part-5"
	ln -s ../victim/file "$out/.gptqfs-part-ffff"
	run -0 timeout 10 "$GPTQFS" --export="$out" "$source"
	[[ $(<"$BATS_TEST_TMPDIR/victim/file") = precious && ! -e $BATS_TEST_TMPDIR/victim/new ]]
	[[ -z $(find "$out" ! -type f ! -type d) && -z $(leftovers "$out") ]]
	compare_view "$out" F16
	# A directory.
	rm -rf "$out"
	mkdir "$out"
	: >"$out/.gptqfs-export"
	ln -s ../victim "$out/model"
	run -5 "$GPTQFS" --export="$out" -o view=tensors "$source"
	[[ $(ls -A "$BATS_TEST_TMPDIR/victim") = file ]]
}

@test "a journal of another user is not obeyed" {
	need_root
	mkdir "$out"
	: >"$out/.gptqfs-export"
	chown nobody "$out/.gptqfs-export"
	run -5 --separate-stderr "$GPTQFS" --export="$out" "$source"
	[[ $stderr = *"not the journal"* ]]
}

# ---- progress ----

# Exports to a pipe that stalls in the middle, long enough to be told.
stalled='"$0" $2 --export=- "$1" | (head -c 25000000 && sleep 1.5 && cat) >/dev/null'

@test "progress: a line for each tenth, a bar on a terminal, nothing with --quiet" {
	make_long 0.05
	run -0 bash -c "$stalled" "$GPTQFS" "$source" -j1
	[[ $output =~ exported\ 2[0-9.]+\ MB\ of\ 4[0-9.]+\ MB,\ [45][0-9]\ %.*\ 100\ %,\ .*B/s,\ 0:00\ left ]] || fail "$output"
	[[ $(grep -c exported <<<"$output") -le 10 && $output != *$'\r'* ]]
	run -0 bash -c "$stalled" "$GPTQFS" "$source" -q
	[[ -z $output ]]
	run -0 script -qefc "bash -c '$stalled' '$GPTQFS' '$source' -j1" /dev/null
	[[ $output = *$'\r['*#*.*']'*"%"*"B/s"* ]] || fail "$output"
}

@test "--check --sha256 says which file is none of safetensors" {
	local bytes

	make_checkpoint plain
	for bytes in "left over" short; do
		printf %s "$bytes" >"$model/other.safetensors"
		run -3 "$GPTQFS" -q --check --sha256 "$model"
		[[ $output = *"other.safetensors: not a safetensors file"* ]]
	done
}

@test "--check --sha256 has the same progress, on stderr" {
	make_long 1.2
	run -0 --separate-stderr taskset -c "$(taskset -cp $$ | grep -oE '[0-9]+' | tail -1)" "$GPTQFS" --check --sha256 "$source"
	[[ $stderr =~ hashed\ .*B\ of\ 1.*GB,\ [0-9]+\ % ]] || fail "$stderr"
	jq -e 'length == 12' <<<"$output"
	run -0 --separate-stderr "$GPTQFS" -q --check --sha256 "$TESTS/data/models/tiny-llama-5b-planar"
	[[ -z $output && -z $stderr ]]
}

# ---- memory ----

# within MB COMMAND...: the command needs at most that much memory.
within() {
	python3 - "$@" <<'END'
import resource, subprocess, sys
subprocess.run(sys.argv[2:], check=True, stdout=subprocess.DEVNULL)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
sys.exit(f"{peak:.0f} MB" if peak > int(sys.argv[1]) else 0)
END
}

@test "memory does not grow with the model: its 250 MB do not stay mapped" {
	! sanitized || skip "sanitizers need memory of their own"
	in_memory
	python3 -S "$TESTS/bench/make_model.py" flat --tensors 100 --view-gb 1 --sparse "$model" >/dev/null
	within 110 "$GPTQFS" -q --export="$out" -j 2 "$model"
	rm -r "$out"
	within 110 taskset -c "$(taskset -cp $$ | grep -oE '[0-9]+' | sed 1d | sed -n '1p;$p' | paste -sd,)" \
		"$GPTQFS" -q --check --sha256 "$model"
}

# ---- to standard output ----

@test "--export=- is a tar of the view, the same each time, with config.json last" {
	for view in fp16 tensors fused/bf16; do
		rm -rf "$out" "$out-tar"
		mkdir "$out-tar"
		export_view $view "$out"
		"$GPTQFS" -q --export=- -o view=$view "$source" >"$BATS_TEST_TMPDIR/1.tar"
		"$GPTQFS" -q --export=- -o view=$view -j 5 "$source" | cmp - "$BATS_TEST_TMPDIR/1.tar"
		tar -xf "$BATS_TEST_TMPDIR/1.tar" -C "$out-tar"
		diff -r "$out" "$out-tar"
		(($(stat -c %s "$BATS_TEST_TMPDIR/1.tar") % 10240 == 0))
	done
	[[ $(tar -tf "$BATS_TEST_TMPDIR/1.tar" | tail -1) = config.json ]]
	python3 - "$BATS_TEST_TMPDIR/1.tar" <<'END'
import sys, tarfile
t = tarfile.open(sys.argv[1])
for m in t:
    assert m.uid == m.gid == 0 and m.mode == 0o644 and m.mtime > 1e9, m.get_info()
END
}

@test "--export=-: names of more than 100 bytes, and files of more than 8 GiB" {
	copy_model tiny-llama-4b-g32-shard
	name=$(printf 'n%.0s' {1..250})
	mkdir "$model/$name"
	echo text >"$model/$name/$name.json"
	mkdir "$out-tar"
	"$GPTQFS" -q --export=- "$model" | tar -x -C "$out-tar"
	[[ $(<"$out-tar/$name/$name.json") = text ]]
	rm -rf "$model"
	python3 -S "$TESTS/bench/make_model.py" flat --tensors 4 --view-gb 10 --sparse "$model" >/dev/null
	run -0 --separate-stderr bash -c '"$0" -q --export=- -o shard=20g "$1" | python3 -c "
import sys, tarfile
m = tarfile.open(fileobj=sys.stdin.buffer, mode=\"r|\").next()
print(m.size, m.name)"' "$GPTQFS" "$model"
	[[ $output = "$("$GPTQFS" --ls=fp16/model.safetensors -o shard=20g "$model" | sed 's/^ *//; s/fp16.//')" && ${output%% *} -gt 8589934592 ]] || fail "$output"
}

@test "-o shard= splits the weights, in mounts too" {
	export_view bf16 "$out" -o shard=100k
	compare_view "$out" BF16
	[[ $(ls "$out" | grep -c '^model-000[0-9][0-9]-of-000') -gt 3 && -e $out/model.safetensors.index.json ]]
	mount_model -o shard=100k "$source" "$mnt"
	diff -r "$mnt/bf16" "$out"
	compare_views "$mnt"
	ls "$mnt"/packed/model-00002-of-*
	for size in 0 x -1; do
		run -1 "$GPTQFS" --export="$out-2" -o shard=$size "$source"
		[[ $output = *"shard=$size: expected a size"* ]]
	done
}

@test "--export=-: refused for a terminal, with --force, and with a full or closed output" {
	run -1 script -qefc "'$GPTQFS' --export=- '$source'" /dev/null
	[[ $output = *"not for a terminal"* ]]
	run -1 "$GPTQFS" --export=- --force "$source"
	run -5 bash -c '"$0" -q --export=- "$1" >/dev/full' "$GPTQFS" "$source"
	[[ $output = *"standard output: No space left"* ]]
	run -5 bash -c '"$0" --cat=fp16/model.safetensors "$1" >/dev/full' "$GPTQFS" "$source"
	run -5 bash -c '"$0" --ls "$1" >/dev/full' "$GPTQFS" "$source"
	for words in --export=- --cat=README --ls; do
		run -5 bash -c '"$0" -q $2 "$1" >&-' "$GPTQFS" "$source" $words
		[[ $output = *"Bad file descriptor"* ]] || fail "$words: $output"
	done
}

@test "--cat is a file as in a mount, with and without a view" {
	mount_model "$source" "$mnt"
	for path in README info.json bf16/model.safetensors tensors/model/norm.npy gguf/README; do
		"$GPTQFS" --cat=$path "$source" | cmp - "$mnt/$path"
	done
	"$GPTQFS" --cat=config.json -o view=fp32 -j 3 "$source" | cmp - "$mnt/fp32/config.json"
	for path in nothing fp16 fp16/config.json/x ../config.json fp16/../../x; do
		run -1 --separate-stderr "$GPTQFS" --cat=$path "$source"
		[[ -z $output && $stderr = "gptqfs: $path: "* ]]
	done
	[[ -z $("$GPTQFS" --cat=status "$source") ]]
}

@test "--ls lists what a mount has" {
	mount_model "$source" "$mnt"
	for path in / fp16 tensors/model/layers; do
		diff <("$GPTQFS" --ls=$path "$source" | awk '{ print $2 }') <(LC_ALL=C ls -p "$mnt/$path")
	done
	diff <("$GPTQFS" --ls "$source") <("$GPTQFS" --ls=/ "$source")
	[[ $("$GPTQFS" --ls=fp16/config.json "$source") =~ ^\ *$(stat -c %s "$mnt/fp16/config.json")\ fp16/config.json$ ]]
	diff <("$GPTQFS" --ls -o view=bf16 "$source") <("$GPTQFS" --ls=bf16 "$source")
	run -1 "$GPTQFS" --ls=nothing "$source"
	[[ $output = *"No such file"*"gptqfs --ls MODEL_DIR lists"* ]]
	run -1 "$GPTQFS" --ls --cat=README "$source"
	[[ $output = *"exclude each other"* ]]
}
