#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# A mounted model for programs and people: names, attributes, bytes, and the effects of signals and unmounts.

load lib

# One mount for many tests that do not change it: a model with all kinds of files beside its weights. And one that stays
# idle after some reads, for the test of idle memory at the end.
setup_file() {
	watch_sanitizers
	model=$BATS_FILE_TMPDIR/model
	make_checkpoint companions
	touch -d "2021-02-03 04:05:06.123456789" "$model/merges.txt"
	touch -d "2022-02-03 04:05:06.5" "$model/config.json"
	touch -d "2023-02-03 04:05:06" "$model/model.safetensors"
	chmod 640 "$model/merges.txt"
	chmod 755 "$model/modeling_custom.py"
	mount_model "$model" "$BATS_FILE_TMPDIR/mnt"

	model=$BATS_FILE_TMPDIR/long_rows
	make_checkpoint long_rows
	mount_foreground "$BATS_FILE_TMPDIR/idle.log" -o view=fp32 "$model" "$BATS_FILE_TMPDIR/idle"
	echo "$server" >"$BATS_FILE_TMPDIR/idle.pid"
	small_reads "$BATS_FILE_TMPDIR/idle/model.safetensors" 3000
	counters "$BATS_FILE_TMPDIR/idle.log" "$server" >"$BATS_FILE_TMPDIR/idle.before"
}

teardown_file() {
	end_all
}

shared_mount() {
	mnt=$BATS_FILE_TMPDIR/mnt
	model=$BATS_FILE_TMPDIR/model
}

# small_reads FILE COUNT: 4 KiB each, anywhere, past the page cache.
small_reads() {
	python3 - "$1" "$2" <<'END'
import mmap, os, random, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
buffer = mmap.mmap(-1, 4096)
pages = os.fstat(fd).st_size // 4096
rnd = random.Random(1)
for _ in range(int(sys.argv[2])):
    assert os.preadv(fd, [buffer], 4096 * rnd.randrange(pages)) == 4096
END
}

# counters LOG PID: what SIGUSR1 makes the server write to its log: "BYTES BUDGET" of the cache.
counters() {
	local before

	before=$(grep -c "cache_hits" "$1" || true)
	kill -USR1 "$2"
	wait_until 10 more_lines "$1" "$before"
	sed -n '$s/.* cache_bytes \([0-9]*\), cache_budget_bytes \([0-9]*\),.*/\1 \2/p' "$1"
}

more_lines() {
	(($(grep -c "cache_hits" "$1") > $2))
}

# ---- names and attributes ----

@test "type, source and flags in mountinfo" {
	shared_mount
	run -0 grep " $mnt " /proc/self/mountinfo
	[[ $output = *" ro,nosuid,nodev"*" - fuse.gptqfs $model ro,"* ]]
	[[ $output = *default_permissions* ]]
}

@test "the root lists the views, README and info" {
	shared_mount
	[[ $(ls -A "$mnt" | tr '\n' ' ') = "README bf16 fp16 fp32 fused info info.json mlx packed status tensors " ]]
	grep -q "$model" "$mnt/README"
	grep -q "^Format: *GPTQ$" "$mnt/info"
}

@test "a view holds one set of weights, what passes, and nothing that says quantized" {
	shared_mount
	for view in fp16 bf16 fp32; do
		diff - <(cd "$mnt/$view" && find . -mindepth 1 | LC_ALL=C sort) <<'END'
./1_Pooling
./1_Pooling/config.json
./README.md
./assets
./assets/deep
./assets/deep/er
./assets/deep/er/note.txt
./config.json
./empty.txt
./generation_config.json
./merges.txt
./model.safetensors
./modeling_custom.py
./name, with blank.txt
./tokenizer.json
./tokenizer.model
END
		run ! grep -rq quantization_config "$mnt/$view" --include=*.json
	done
}

@test "files that pass keep every byte" {
	shared_mount
	cd "$mnt/fp16"
	find . -type f ! -name model.safetensors ! -path ./config.json -print0 | while IFS= read -r -d '' file; do
		cmp "$file" "$model/$file"
	done
	[[ ! -s empty.txt ]]
}

@test "sizes, times, modes, links and blocks" {
	shared_mount
	python3 - "$mnt" "$model" <<'END'
import os, stat, sys
mnt, model = sys.argv[1:]
seen = set()
for where, dirs, files in os.walk(mnt):
    st = os.lstat(where)
    assert st.st_nlink == 2 + len(dirs), (where, st)
    assert stat.S_IMODE(st.st_mode) & 0o222 == 0 and stat.S_IMODE(st.st_mode) & 0o500 == 0o500, where
    listed = {e.name: e for e in os.scandir(where)}
    assert sorted(listed) == sorted(dirs + files), where
    for name in dirs + files:
        path = os.path.join(where, name)
        st = os.lstat(path)
        # readdir and stat must agree.
        assert listed[name].inode() == st.st_ino and listed[name].stat().st_size == st.st_size, path
        assert st.st_ino not in seen, path
        seen.add(st.st_ino)
        if name in dirs:
            continue
        with open(path, "rb") as f:
            assert len(f.read()) == st.st_size or path == mnt + "/status", path
        assert st.st_blocks == (st.st_size + 511) // 512 and st.st_nlink == 1, (path, st)
        assert st.st_blksize & (st.st_blksize - 1) == 0, path
        rel = path[len(mnt) + 1:].removeprefix("fused/").partition("/")[2]
        if not rel or rel in ("quantize_config.json", "README"):  # which packed/ and fused/ have anew
            continue
        if path.startswith(mnt + "/tensors/"):
            rel = "model.safetensors"
        src = os.stat(os.path.join(model, rel))
        assert st.st_mtime_ns == src.st_mtime_ns, (path, st.st_mtime_ns, src.st_mtime_ns)
        assert (st.st_uid, st.st_gid) == (src.st_uid, src.st_gid), path
        assert stat.S_IMODE(st.st_mode) == src.st_mode & 0o444, (path, oct(st.st_mode))
END
}

@test "ls -l" {
	shared_mount
	run -0 ls -l --time-style=+%Y-%m-%d "$mnt/fp16"
	size=$(wc -c <"$mnt/fp16/model.safetensors")
	[[ $output = *"-r--r--r-- 1 "*" $size 2023-02-03 model.safetensors"* ]]
	[[ $output = *"-r--r----- 1 "*" 2021-02-03 merges.txt"* ]]
	[[ $output = *"-r--r--r-- 1 "*" 2022-02-03 config.json"* ]]
}

@test "df: the dense size, nothing free" {
	shared_mount
	python3 - "$mnt" <<'END'
import os, sys
st = os.statvfs(sys.argv[1])
total = sum(os.lstat(os.path.join(w, f)).st_size for w, _, files in os.walk(sys.argv[1]) for f in files)
assert total <= st.f_blocks * st.f_frsize < 2 * total + 1e6, (total, st)
assert st.f_bfree == st.f_bavail == 0 and st.f_flag & os.ST_RDONLY and st.f_namemax >= 255, st
END
	df "$mnt" | grep -q "$model"
}

@test "inode numbers are the same in every mount" {
	shared_mount
	mount_model "$model" "$BATS_TEST_TMPDIR/again"
	diff <(cd "$mnt" && find . -printf '%i %p\n') <(cd "$BATS_TEST_TMPDIR/again" && find . -printf '%i %p\n')
}

@test "writing anything is refused: read-only file system" {
	shared_mount
	file=$mnt/fp16/config.json
	# Each of these is one command; the last word of each is free of blanks.
	for try in "touch $mnt/new" "touch $file" "mkdir $mnt/fp16/new" "rmdir $mnt/fp16" "rm -f $file" "mv $file $mnt/x" \
		"ln $file $mnt/x" "ln -s x $mnt/x" "chmod 600 $file" "truncate -s 0 $file" "mkfifo $mnt/x" \
		"dd if=/dev/null of=$file conv=notrunc" "setfattr -n user.x -v 1 $file"; do
		run ! env LC_ALL=C $try
		[[ $output = *"Read-only file system"* ]] || fail "$try: $output"
	done
}

@test "names that are not there" {
	shared_mount
	for name in nothing fp16/nothing fp16/model.safetensors.index.json fp16/quantize_config.json fp16/config.json/x \
		fp16/.gitattributes fp8; do
		[[ ! -e $mnt/$name ]] || fail "$name"
	done
}

@test "uid, gid and umask" {
	make_checkpoint companions
	mount_model -o uid=1234,gid=2345,umask=0337,view=fp16 "$model" "$mnt"
	[[ $(stat -c "%u %g %a" "$mnt/model.safetensors") = "1234 2345 440" ]]
	[[ $(stat -c "%u %g %a" "$mnt/assets") = "1234 2345 440" ]]
}

@test "other users: not at all, unless allow_other says so" {
	need_root
	make_checkpoint plain
	public_directory
	mv "$model" "$dir/model"
	model=$dir/model
	mount_model -o view=fp16 "$model" "$dir/mnt"
	nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	run ! "${nobody[@]}" cat "$dir/mnt/config.json"
	unmount "$dir/mnt"
	mount_model -o view=fp16,allow_other "$model" "$dir/mnt"
	"${nobody[@]}" cmp "$dir/mnt/tokenizer.json" - <"$model/tokenizer.json"
	unmount "$dir/mnt"
	mount_model -o view=fp16,allow_other,umask=077 "$model" "$dir/mnt"
	run ! "${nobody[@]}" cat "$dir/mnt/config.json"
	unmount "$dir/mnt"
}

@test "commas, blanks and backslashes in names" {
	make_checkpoint companions
	mv "$model" "$BATS_TEST_TMPDIR/a, b=c\\d"
	model="$BATS_TEST_TMPDIR/a, b=c\\d"
	mnt="$BATS_TEST_TMPDIR/m, n\\o"
	mount_model -o view=fp16 "$model" "$mnt"
	is_mounted "$mnt"
	[[ $(findmnt -nro SOURCE "$mnt" | sed 's/\\x20/ /g; s/\\x5c/\\/g') = "$model" ]]
	compare_view "$mnt" F16
	cmp "$mnt/name, with blank.txt" "$model/name, with blank.txt"
	# The server must find its mount to remove it.
	kill -TERM "$server"
	wait_until 10 not_mounted "$mnt"
}

@test "white space of any kind in names, in the table of mounts too" {
	local at

	make_checkpoint plain
	mv "$model" "$model"$'\v\n'
	for at in "$mnt"$'\r' "$mnt"$'\f\n'; do
		mount_model "$model"$'\v\n' "$at"
		"$GPTQFS" --list --json | python3 -c '
import json, sys
assert sys.argv[1:] in [[m["mountpoint"], m["model"]] for m in json.load(sys.stdin)]' "$at" "$model"$'\v\n'
		kill -TERM "$server"
		wait_until 10 is_gone "$server"
		run ! mountpoint -q "$at"
	done
}

# ---- views ----

@test "view=NAME shows one view as the root" {
	shared_mount
	for view in fp16 bf16 fp32; do
		mount_model -o view=$view "$model" "$BATS_TEST_TMPDIR/$view"
		diff -r "$BATS_TEST_TMPDIR/$view" "$mnt/$view"
	done
}

# config_case KIND: config.json of every view, byte by byte.
config_case() {
	make_checkpoint "$1"
	mount_model "$model" "$mnt"
	for view in fp16 bf16 fp32; do
		diff "$mnt/$view/config.json" "$model.config.$view.json"
		python3 -m json.tool "$mnt/$view/config.json" >/dev/null
	done
}

@test "config.json: quantization_config first" { config_case config_first; }
@test "config.json: quantization_config in the middle" { config_case config_middle; }
@test "config.json: quantization_config last" { config_case config_last; }
@test "config.json: without any blanks, first" { config_case config_compact_first; }
@test "config.json: without any blanks, last" { config_case config_compact_last; }
@test "config.json: tabs and CR LF" { config_case config_odd_blanks; }
@test "config.json: nothing but quantization_config" { config_case config_only_member; }
@test "config.json: no type yet" { config_case config_without_dtype; }
@test "config.json: in text_config" { config_case config_text; }
@test "config.json: Infinity and NaN, as Python writes them" { config_case config_python; }

@test "more than 5 GB: shards and an index" {
	make_checkpoint big
	mount_model "$model" "$mnt"
	python3 - "$TESTS/tools" "$mnt" <<'END'
import json, os, sys
sys.path.insert(0, sys.argv[1])
import compare
for view, count in ("fp16", 2), ("bf16", 2), ("fp32", 3):
    path = os.path.join(sys.argv[2], view)
    files, weight_map = compare.shards(path)
    names = [f"model-{i + 1:05}-of-{count:05}.safetensors" for i in range(count)]
    assert [os.path.basename(f) for f in files] == names, files
    assert sorted(n for n in os.listdir(path) if n.endswith(".safetensors")) == names
    total, listed = 0, {}
    for file in files:
        start, header = compare.read_header(file)
        assert os.path.getsize(file) <= 5_000_000_000 + start
        total += os.path.getsize(file) - start
        listed.update((name, os.path.basename(file)) for name in header)
        # The last bytes of a shard are there: zeros times a scale of zero.
        with open(file, "rb") as f:
            f.seek(-4096, os.SEEK_END)
            assert not f.read().strip(b"\0\x80")
    assert listed == weight_map, (listed, weight_map)
    with open(os.path.join(path, "model.safetensors.index.json")) as f:
        metadata = json.load(f)["metadata"]
    assert metadata["total_size"] == total, (metadata, total)
END
}

@test "the model directory as the mountpoint" {
	make_checkpoint companions
	mount_model "$model" "$model"
	compare_view "$model/fp16" F16
	[[ $(cat "$model/fp16/merges.txt") = "this is merges.txt" ]]
	unmount "$model"
	[[ -e $model/quantize_config.json ]]
	mount_model -o view=bf16 "$model" "$model"
	compare_view "$model" BF16
	kill -TERM "$server"
	wait_until 10 not_mounted "$model"
}

@test "a mountpoint inside the model directory" {
	make_checkpoint plain
	mount_model "$model" "$model/mnt"
	compare_view "$model/mnt/fp16" F16
	unmount "$model/mnt"
}

# ---- readahead ----

readahead_of() {
	cat "/sys/class/bdi/$(mountpoint -d "$1")/read_ahead_kb"
}

@test "readahead is raised" {
	need_root
	shared_mount
	(($(readahead_of "$mnt") > 128))
	mount_model -o readahead=256 "$model" "$BATS_TEST_TMPDIR/mnt"
	[[ $(readahead_of "$BATS_TEST_TMPDIR/mnt") = 256 ]]
}

# ---- bytes ----

# copy_of_view: fp16 of the model at $mnt is copied by reading it whole, and mounted afresh, so that nothing is cached.
# Then $file is the mounted file and $copy its copy.
copy_of_view() {
	mount_model -o view=fp16 "$@" "$model" "$mnt"
	copy=$BATS_TEST_TMPDIR/copy
	cat "$mnt/model.safetensors" >"$copy"
	unmount "$mnt"
	mount_model -o view=fp16 "$@" "$model" "$mnt"
	file=$mnt/model.safetensors
}

@test "cp -r, find and tar" {
	shared_mount
	cp -r "$mnt" "$BATS_TEST_TMPDIR/copy"
	diff -r --exclude=status "$mnt" "$BATS_TEST_TMPDIR/copy"
	# status takes no space in the mount, but does in the copy.
	grep -q "^Reads:" "$BATS_TEST_TMPDIR/copy/status"
	: >"$BATS_TEST_TMPDIR/copy/status"
	diff <(cd "$mnt" && find . -type f -printf '%p %s\n' | sort) \
		<(cd "$BATS_TEST_TMPDIR/copy" && find . -type f -printf '%p %s\n' | sort)
	tar cSf - -C "$mnt" . | tar df - -C "$mnt"
}

@test "any range reads as the whole file does" {
	copy_model tiny-llama-4b-g32-asym-act
	copy_of_view
	python3 - "$file" "$copy" <<'END'
import json, os, random, struct, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
copy = open(sys.argv[2], "rb").read()
seed = random.randrange(1 << 32)
print("seed", seed)
rnd = random.Random(seed)
start = 8 + struct.unpack("<Q", copy[:8])[0]
edges = [0, 8, start, len(copy)]
for entry in json.loads(copy[8:start]).values():
    edges += [start + at for at in entry.get("data_offsets", [])]
ranges = [(max(0, e + a), n) for e in edges for a in (-4097, -1, 0, 1) for n in (1, 2, 4096, 70000)]
for _ in range(2000):
    ranges.append((rnd.randrange(len(copy)), rnd.randrange(1, 1 << rnd.randrange(1, 20))))
rnd.shuffle(ranges)
direct = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
for at, n in ranges:
    assert os.pread(fd, n, at) == copy[at:at + n], (at, n)
    assert os.pread(direct, n, at) == copy[at:at + n], ("direct", at, n)
assert os.pread(fd, 10, len(copy)) == os.pread(fd, 10, len(copy) + 12345) == b""
END
}

@test "requests are not larger than replies, of which a short one would end the file" {
	local GPTQFS=$(dirname "$GPTQFS")/gptqfs-try

	make_checkpoint plain
	for option in view=fp16 view=fp16,direct_io view=fp16,max_read=65536; do
		TRY_LARGE=1 mount_model -o $option "$model" "$mnt"
		compare_view "$mnt" F16
		unmount "$mnt"
	done
}

@test "O_DIRECT" {
	copy_model tiny-llama-4b-g32-asym-act
	copy_of_view
	for bs in 512 4096 65536 1M 3M; do
		dd if="$file" iflag=direct bs=$bs status=none | cmp - "$copy"
	done
}

# hammer [OPTION...]
hammer() {
	[[ -x $HAMMER ]] || fail "$HAMMER is not there; build it first (make check does)"
	timeout 100 "$HAMMER" -s "$RANDOM" "$@" "$file" "$copy"
}

@test "eight threads and four processes at once" {
	copy_model tiny-llama-4b-g32-asym-act
	copy_of_view
	hammer -n 300
}

@test "eight threads and four processes at once, with no cache but the kernel's" {
	copy_model tiny-llama-4b-g128-ragged
	copy_of_view -o cache=0
	hammer -n 200
}

@test "eight threads and four processes at once, past the page cache" {
	copy_model tiny-qwen2-4b-g64-asym
	copy_of_view -o direct_io,cache=1m
	hammer -n 200 -x
}

@test "eight threads and four processes at once, on a real model" {
	find_model smollm2-135m-gptq-4bit-g64
	model=$source
	copy_of_view -o reader_threads=2
	hammer -n 40
}

@test "one reader and any number of threads for it, on a real model" {
	find_model smollm2-135m-gptq-4bit-g64
	model=$source
	copy_of_view -o reader_threads=1
	for threads in 2 3 4; do
		unmount "$mnt"
		mount_model -o view=fp16,reader_threads=$threads "$model" "$mnt"
		cmp "$file" "$copy"
		dd if="$file" iflag=direct bs=1M status=none | cmp - "$copy"
	done
}

# variant OPTION...: all views right with these options, by reading and by mapping.
variant() {
	make_checkpoint act_order
	mount_model "$@" "$model" "$mnt"
	compare_views "$mnt"
	python3 -c 'import mmap, sys
with open(sys.argv[1], "rb") as f:
    assert mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ)[:] == f.read()' "$mnt/fp16/model.safetensors"
}

@test "-o cache=0" { variant -o cache=0; }
@test "-o cache=1m" { variant -o cache=1m; }
@test "-s" { variant -s; }
@test "-o max_threads=1" { variant -o max_threads=1; }
@test "-o max_threads=3" { variant -o max_threads=3; }
@test "-o reader_threads=1" { variant -o reader_threads=1; }
@test "-o reader_threads=2" { variant -o reader_threads=2; }
@test "-o reader_threads=4,cache=0" { variant -o reader_threads=4,cache=0; }
@test "-o reader_threads=3,direct_io" { variant -o reader_threads=3,direct_io; }
@test "-o direct_io" { variant -o direct_io; }
@test "-o direct_io,cache=0 -s" { variant -o direct_io,cache=0 -s; }
@test "-o max_read=4096" { variant -o max_read=4096; }
@test "-o max_read=65536,readahead=4096" { variant -o max_read=65536,readahead=4096; }
@test "-o max_threads=2,clone_fd" { variant -o max_threads=2,clone_fd; }
@test "--cpu=c" { variant --cpu=c; }

@test "direct_io has no shared mappings, as help says" {
	make_checkpoint plain
	mount_model -o direct_io,view=fp16 "$model" "$mnt"
	run -0 python3 -c 'import errno, mmap, sys
with open(sys.argv[1], "rb") as f:
    try:
        mmap.mmap(f.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
    except OSError as e:
        assert e.errno == errno.ENODEV, e' "$mnt/model.safetensors"
}

@test "the second-level cache keeps to its budget" {
	make_checkpoint long_rows
	mount_foreground "$BATS_TEST_TMPDIR/log" -o cache=256k,view=fp32 "$model" "$mnt"
	for i in 1 2 3; do
		small_reads "$mnt/model.safetensors" 1000
		read -r bytes budget < <(counters "$BATS_TEST_TMPDIR/log" "$server")
		((budget == 262144 && bytes > 0 && bytes <= budget)) || fail "$bytes of $budget"
	done
}

# ---- the end of a mount ----

# slow_reader FILE COPY: opens FILE, says so by creating COPY.open, reads it past the page cache again and again until
# COPY.stop exists, and compares.
slow_reader() {
	cat >"$BATS_TEST_TMPDIR/reader.py" <<'END'
import os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
copy = open(sys.argv[2], "rb").read()
open(sys.argv[2] + ".open", "w")
rounds = 0
while rounds < 2 or not os.path.exists(sys.argv[2] + ".stop"):
    for at in range(0, len(copy), 1 << 16):
        assert os.pread(fd, 1 << 16, at) == copy[at:at + (1 << 16)], at
    rounds += 1
END
	in_background python3 "$BATS_TEST_TMPDIR/reader.py" "$1" "$2"
	wait_until 20 test -e "$2.open"
}

@test "SIGTERM takes the mount away and serves its readers to the end" {
	copy_model tiny-llama-4b-g32-asym-act
	copy_of_view
	exec 9<"$file"
	slow_reader "$file" "$copy"
	kill -TERM "$server"
	wait_until 10 not_mounted "$mnt"
	[[ -z $(ls -A "$mnt") ]]
	is_running "$server"
	# Nothing of this file was read through descriptor 9 yet.
	cmp - "$copy" <&9
	exec 9<&-
	touch "$copy.stop"
	wait "$process"
	wait_until 10 is_gone "$server"
}

@test "a second SIGTERM leaves at once" {
	copy_model tiny-llama-4b-g32-asym-act
	copy_of_view
	exec 9<"$file"
	kill -TERM "$server"
	wait_until 10 not_mounted "$mnt"
	is_running "$server"
	kill -TERM "$server"
	wait_until 5 is_gone "$server"
	run ! cat <&9
	exec 9<&-
	mount_model "$model" "$mnt"
	[[ -e $mnt/fp16/config.json ]]
}

@test "SIGINT is like SIGTERM" {
	make_checkpoint plain
	mount_foreground "$BATS_TEST_TMPDIR/log" -o view=fp16 "$model" "$mnt"
	exec 9<"$mnt/tokenizer.json"
	kill -INT "$server"
	wait_until 10 not_mounted "$mnt"
	cmp - "$model/tokenizer.json" <&9
	exec 9<&-
	wait "$helper"
}

@test "a signal does not take away a mount that came later" {
	make_checkpoint plain
	mount_model -o view=fp16 "$model" "$mnt"
	below=$server
	mount_model -o view=bf16 "$model" "$mnt"
	kill -TERM "$below"
	wait_until 10 is_gone "$below"
	grep -q bfloat16 "$mnt/config.json"
}

@test "unmounting while busy" {
	copy_model tiny-llama-4b-g32-asym-act
	copy_of_view
	exec 9<"$file"
	run ! fusermount3 -u "$mnt"
	[[ $output = *busy* ]]
	cmp "$mnt/tokenizer.json" "$model/tokenizer.json"
	fusermount3 -uz "$mnt"
	not_mounted "$mnt"
	cmp - "$copy" <&9
	exec 9<&-
	wait_until 10 is_gone "$server"
}

@test "kill -9 of the server, and a mount after it" {
	copy_model tiny-llama-4b-g32-asym-act
	copy_of_view
	exec 9<"$file"
	slow_reader "$file" "$copy"
	kill -KILL "$server"
	# Readers must get an error, not hang.
	code=0
	wait "$process" || code=$?
	[[ $code != 0 ]]
	run ! cat <&9
	exec 9<&-
	# Its helper removes the mount.
	wait_until 10 not_mounted "$mnt"
	mount_model -o view=fp16 "$model" "$mnt"
	cmp "$file" "$copy"
}

# ---- without privileges ----

@test "an ordinary user mounts, reads and unmounts" {
	need_namespace
	make_checkpoint act_order
	# The checkout and this test's directory may be inaccessible to others.
	public_directory
	cp -r "$GPTQFS" "$TESTS/tools/compare.py" "$model" "$model".*.json "$dir"
	chmod -R go+rX "$dir"/*
	mkdir "$dir/dev" "$dir/mnt" "$dir/other" "$dir/log"
	chown 65534:65534 "$dir/mnt" "$dir/log"
	cat >"$dir/as_nobody" <<'END'
set -eu
export ASAN_OPTIONS=log_path=$PWD/log/sanitizer UBSAN_OPTIONS=log_path=$PWD/log/sanitizer
export TSAN_OPTIONS=log_path=$PWD/log/sanitizer
./gptqfs model mnt 2>log/err
# One line, which says what root can do.
grep -q "readahead stays at [0-9]* KiB.*as root: echo [0-9]* > /sys/class/bdi/.*/read_ahead_kb" log/err
[ "$(wc -l <log/err)" = 1 ]
grep " $PWD/mnt ro,nosuid,nodev.*fuse.gptqfs $PWD/model .*user_id=65534" /proc/self/mountinfo
python3 compare.py mnt/fp16 model.F16.json mnt/fp32 model.F32.json
fusermount3 -u mnt
[ -z "$(grep " $PWD/mnt " /proc/self/mountinfo)" ]
# On a signal, fusermount3 removes the mount.
./gptqfs -f -o view=bf16 model mnt 2>log/err &
until [ -e mnt/config.json ]; do sleep 0.1; done
python3 compare.py mnt model.BF16.json
kill -TERM $!
wait $!
[ -z "$(grep " $PWD/mnt " /proc/self/mountinfo)" ]
code=0
./gptqfs model mnt -- sh -c 'python3 compare.py mnt/fp16 model.F16.json && exit 6' 2>log/err || code=$?
[ $code = 6 ]
[ -z "$(grep " $PWD/mnt " /proc/self/mountinfo)" ]
# Errors name the remedy.
code=0
./gptqfs model other 2>log/err || code=$?
[ $code = 4 ]
grep -q "other belongs to another user" log/err
if ! grep -q "^ *user_allow_other" /etc/fuse.conf; then
	code=0
	./gptqfs -o allow_other model mnt 2>log/err || code=$?
	[ $code = 4 ]
	grep -q "user_allow_other in /etc/fuse.conf" log/err
fi
END
	# Also a PID namespace, so that no server can outlive this.
	run -0 in_private unshare -p -f --kill-child --mount-proc bash -c '
		cd "$1" && mount -t tmpfs -o dev,mode=755 none dev && mknod -m 666 dev/fuse c 10 229 &&
		mount --bind dev/fuse /dev/fuse || exit
		setpriv --reuid=65534 --regid=65534 --clear-groups bash -x as_nobody' bash "$dir"
	[[ -z $(find "$dir/log" -name 'sanitizer.*') ]] || fail "$(cat "$dir"/log/sanitizer.*)"
}

# ---- memory ----

@test "memory is given back when idle" {
	server=$(<"$BATS_FILE_TMPDIR/idle.pid")
	read -r bytes _ <"$BATS_FILE_TMPDIR/idle.before"
	((bytes > 0))
	idle_is_empty() {
		read -r bytes _ < <(counters "$BATS_FILE_TMPDIR/idle.log" "$server")
		((bytes == 0)) || ! sleep 3
	}
	wait_until 40 idle_is_empty
	# Sanitizers retain freed memory.
	sanitized || (($(awk '/^RssAnon/ { print $2 }' "/proc/$server/status") < 8192))
}
