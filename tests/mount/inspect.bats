#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# info, status, attributes and --check are right, for people and programs.

load lib

# is_ascii FILE...: printable ASCII and newlines, the last byte a newline.
is_ascii() {
	local file

	for file; do
		if LC_ALL=C grep -qP '[^\x20-\x7e]' "$file"; then
			fail "$file: $(LC_ALL=C grep -P '[^\x20-\x7e]' "$file" | head -3)"
		fi
		# status has no size that tail could seek by.
		[[ $(cat "$file" | tail -c 1 | od -An -tx1) = " 0a" ]] || fail "$file does not end in a newline"
	done
}

# value_of KEY FILE: of its one line "Key: value".
value_of() {
	sed -n "s/^$1: *//p" "$2"
}

# ---- info ----

@test "info is Key: value lines in a fixed order, and ASCII" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	is_ascii "$mnt/info" "$mnt/info.json" "$mnt/README"
	run ! grep -vE '^[A-Z][A-Za-z0-9_]{0,17}: +[^ ]' "$mnt/info"
	[[ $(sed 's/:.*//' "$mnt/info" | head -23 | tr '\n' ' ') = "Summary Usage Source Architecture Format Checkpoint_format \
Producer Configuration Bits Group_size Modules Modules_symmetric Modules_repaired Modules_act_order Tensors Parameters \
Shards Source_bytes Dense_fp16_bytes Dense_fp32_bytes Recommended_view Recommended_reason Views " ]]
	[[ $(head -1 "$mnt/info") = "Summary:            LlamaForCausalLM, GPTQ 4-bit, 14 modules, 410K parameters, 340 kB -> \
820 kB as fp16" ]]
}

@test "info.json says the same as info" {
	find_model tiny-qwen2-4b-g64-asym
	mount_model "$source" "$mnt"
	for key in Summary Usage Source Architecture Format Checkpoint_format Producer Configuration Modules_symmetric \
		Modules_repaired Modules_act_order Tensors Parameters Shards Source_bytes Dense_fp16_bytes Dense_fp32_bytes \
		Recommended_view Recommended_reason Checked; do
		run -0 jq -r ".${key,}" "$mnt/info.json"
		[[ $(value_of "$key" "$mnt/info") =~ ^(.*)$ ]]
		[[ ${BASH_REMATCH[1]} = "$output" || ${BASH_REMATCH[1]} = "$output ("*")" ]] || fail "$key: $output"
	done
	[[ $(jq '.modules | length' "$mnt/info.json") = "$(value_of Modules "$mnt/info")" ]]
	[[ $(jq '.warnings | length' "$mnt/info.json") = "$(value_of Warnings "$mnt/info")" ]]
	[[ $(jq -r '.bits | to_entries | map("\(.key) (\(.value) modules)") | join(", ")' "$mnt/info.json") = \
		"$(value_of Bits "$mnt/info")" ]]
	[[ $(jq -r '.views | join(" ")' "$mnt/info.json") = "$(value_of Views "$mnt/info")" ]]
	jq -e '.modules[] | select(.name == "model.layers.0.mlp.up_proj") | .bits == 4 and .in_features == 128 and .group_size == 64' \
		"$mnt/info.json" || fail "$(jq -c '.modules[0]' "$mnt/info.json")"
}

@test "info and README first say that programs need a view, and which engines do not load packed weights" {
	find_model tiny-llama-4b-g32-asym-act
	mount_model "$source" "$mnt"
	view=$(value_of Recommended_view "$mnt/info")
	[[ $(value_of Usage "$mnt/info") = *"MOUNTPOINT/$view"*"-o view=$view"* && $(sed -n '2s/:.*//p' "$mnt/info") = Usage ]]
	grep -q "^Programs want a view.*MOUNTPOINT/$view, or mount with -o view=$view" "$mnt/README"
	[[ $(value_of Packed_act_order "$mnt/info") = *vLLM*"dense views"* ]]
	[[ -z $(value_of Packed_8_bit "$mnt/info") ]]
	unmount "$mnt"
	find_model tiny-llama-4b-g32-shard
	run -0 "$GPTQFS" --check "$source"
	[[ $output != *Packed_act_order* && $output != *Packed_8_bit* ]]
	find_model tiny-llama-8b-g64-sym
	run -0 "$GPTQFS" --check "$source"
	[[ $output = *"Packed_8_bit: "*ExLlama*"dense views"* && $output != *Packed_act_order* ]]
}

@test "bytes and parameters in info match the views" {
	for name in tiny-llama-4b-g32-shard tiny-phi3-4b-g32 tiny-qwen2-4b-g64-asym; do
		find_model "$name"
		mount_model "$source" "$mnt"
		for view in fp16 bf16 fp32; do
			read -r bytes parameters < <(python3 - "$mnt/$view" <<'END'
import glob, json, math, struct, sys
total = elements = 0
for path in glob.glob(sys.argv[1] + "/*.safetensors"):
    with open(path, "rb") as f:
        header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    for name, t in header.items():
        if name != "__metadata__":
            total += t["data_offsets"][1] - t["data_offsets"][0]
            elements += math.prod(t["shape"])
print(total, elements)
END
			)
			[[ $(value_of Dense_${view/bf/fp}_bytes "$mnt/info") =~ ^$bytes( |$) ]]
			[[ $(value_of Parameters "$mnt/info") = "$parameters" ]]
		done
		unmount "$mnt"
	done
}

@test "untrusted names are escaped, one line each" {
	make_checkpoint plain
	mv "$model" "$BATS_TEST_TMPDIR"/$'m\xc3\xb6d\xff\n\\el'
	python3 - "$BATS_TEST_TMPDIR"/$'m\xc3\xb6d\xff\n\\el' <<'END'
import json, os, sys
path = os.path.join(os.fsencode(sys.argv[1]), b"config.json")
config = json.load(open(path))
config["architectures"] = ["Lla\u00f6ma\nWarning: none\u001b[31m\U0001f600"]
os.chmod(path, 0o644)
json.dump(config, open(path, "w"))
END
	mount_model "$BATS_TEST_TMPDIR"/$'m\xc3\xb6d\xff\n\\el' "$mnt"
	is_ascii "$mnt/info" "$mnt/info.json" "$mnt/README"
	[[ $(value_of Source "$mnt/info") = *'/m\303\266d\377\012\134el' ]]
	[[ $(value_of Architecture "$mnt/info") = 'Lla\303\266ma\012Warning: none\033[31m\360\237\230\200' ]]
	grep -q '/m\\303\\266d\\377\\012\\134el$' "$mnt/README"
	python3 - "$mnt/info.json" "$BATS_TEST_TMPDIR"/$'m\xc3\xb6d\xff\n\\el' <<'END'
import json, os, sys
info = json.load(open(sys.argv[1]))
assert os.fsencode(info["source"]) == os.path.realpath(os.fsencode(sys.argv[2])), info["source"]
assert info["architecture"] == "Lla\u00f6ma\nWarning: none\u001b[31m\U0001f600", info["architecture"]
END
}

@test "README lists every view and file of the root" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	for name in $(ls "$mnt"); do
		[[ $name = README ]] || grep -qE "^$name[ /]" "$mnt/README" || fail "README does not tell of $name"
	done
}

# ---- --check ----

@test "--check ends with a summary" {
	find_model tiny-llama-4b-g32-shard
	run -0 "$GPTQFS" --check "$source"
	[[ ${lines[-3]} = "OK: all 14 modules and 21 tensors can be served." ]]
	[[ ${lines[-2]} = "340 kB of 4-bit GPTQ become 820 kB in fp16 and bf16, 1.64 MB in fp32." ]]
	[[ ${lines[-1]} = "Use the bf16 view." ]]
	make_checkpoint disagreeing
	run -0 "$GPTQFS" --check "$model"
	[[ ${lines[-3]} = "OK, with remarks: "*"; 2 remarks above "* ]]
}

@test "--check --sha256 prints the hash of every tensor, byte for byte as expected" {
	for name in tiny-llama-4b-g32-shard tiny-llama-4b-g32-asym-act tiny-phi3-4b-g32 tiny-qwen2-4b-g64-asym; do
		find_model "$name"
		for pair in fp16=F16 bf16=BF16 fp32=F32; do
			"$GPTQFS" --check --sha256 -o view="${pair%=*}" "$source" >"$BATS_TEST_TMPDIR/hashes"
			cmp <(cat "$expected.${pair#*=}.json" && echo) "$BATS_TEST_TMPDIR/hashes"
		done
		# fp16 by default.
		cmp <("$GPTQFS" --check --sha256 "$source") <(cat "$expected.F16.json" && echo)
		# The same with one CPU.
		cmp <(taskset -c "$(taskset -cp $$ | sed 's/.*: //; s/[-,].*//')" "$GPTQFS" --check --sha256 "$source") \
			<(cat "$expected.F16.json" && echo)
	done
}

@test "--check --sha256 of views in pieces, and of one that cannot be read" {
	find_model tiny-qwen2-4b-g64-asym
	# tensors/ has the same tensors, and also joined ones.
	"$GPTQFS" --check --sha256 -o view=tensors "$source" >"$BATS_TEST_TMPDIR/hashes"
	jq -e --slurpfile all "$BATS_TEST_TMPDIR/hashes" 'to_entries | all(. as $e | $all[0][$e.key] == $e.value)' \
		"$expected.F16.json"
	jq -e 'has("model.layers.0.self_attn.qkv_proj.weight")' "$BATS_TEST_TMPDIR/hashes"
	# packed/ is stored bytes.
	"$GPTQFS" --check --sha256 -o view=packed "$source" | jq -e '."model.layers.1.mlp.gate_up_proj.qweight".dtype == "I32"'
	run -1 --separate-stderr "$GPTQFS" --sha256 "$source" "$mnt"
	[[ $stderr = *--check* ]]
	run -1 "$GPTQFS" --check --sha256 -o view=nothing "$source"
	run -5 bash -c '"$@" >/dev/full' bash "$GPTQFS" --check --sha256 "$source"
}

# ---- status ----

# fact KEY: the value in $mnt/status.
fact() {
	value_of "$1" "$mnt/status"
}

@test "status is live, and like a file of /proc" {
	find_model tiny-llama-4b-g32-shard
	mount_model --cpu=c -o cache=3m "$source" "$mnt"
	is_ascii "$mnt/status"
	[[ $(stat -c '%s %b %A' "$mnt/status") = "0 0 -r--r--r--" ]]
	[[ $(sed 's/:.*//' "$mnt/status" | head -10 | tr '\n' ' ') = "Kernel Accelerator Reads Bytes_served Bytes_decoded Errors \
Cache_hits Cache_misses Cache_bytes Cache_budget_bytes " ]]
	[[ $(fact Kernel) = c && $(fact Cache_budget_bytes) = 3145728 && $(fact Errors) = 0 ]]
	served=$(fact Bytes_served) decoded=$(fact Bytes_decoded)
	cat "$mnt/fp32/model.safetensors" >/dev/null
	[[ $(fact Bytes_served) = $((served + $(stat -c %s "$mnt/fp32/model.safetensors"))) ]]
	# All but the header is computed here: the stored tensors are not F32.
	(($(fact Bytes_decoded) - decoded >= $(value_of Dense_fp32_bytes "$mnt/info")))
	# Reading status is not counted, so it can be watched.
	[[ $(fact Reads) = $(fact Reads) ]]
	[[ $(date -r "$mnt/status" +%s) -ge $(($(date +%s) - 5)) ]]
	if [[ $EUID = 0 && -w /sys/class/bdi ]]; then
		[[ $(fact Readahead_kib) = "$(cat "/sys/class/bdi/$(mountpoint -d "$mnt")/read_ahead_kb")" ]]
	fi
	[[ $(fact Uptime_seconds) -le 60 ]]
	sleep 1.1
	[[ $(fact Uptime_seconds) -ge 1 ]]
}

@test "errors and small reads are counted" {
	make_checkpoint plain
	mount_model "$model" "$mnt"
	python3 - "$mnt/fp16/model.safetensors" <<'END'
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
buffer = mmap.mmap(-1, 512)
for i in range(40):
    os.preadv(fd, [buffer], 512 * i)
END
	(($(fact Reads) >= 40))
	truncate -s 4096 "$model/model.safetensors"
	run ! cat "$mnt/bf16/model.safetensors"
	(($(fact Errors) > 0))
}

@test "an open status does not change; a new open gets the current one" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	python3 - "$mnt/status" "$mnt/fp16/model.safetensors" <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
before = os.read(fd, 65536)
assert before.startswith(b"Kernel:") and before.endswith(b"\n"), before
assert os.read(fd, 65536) == b""
open(sys.argv[2], "rb").read()
assert b"".join(os.pread(fd, 7, i) for i in range(0, len(before) + 100, 7)) == before
assert os.pread(fd, 100, len(before)) == b"" and os.pread(fd, 100, 1 << 40) == b""
after = open(sys.argv[1], "rb").read()
assert after != before
# Many at once: each is complete.
many = [os.open(sys.argv[1], os.O_RDONLY) for _ in range(50)]
assert all(os.read(f, 65536).count(b"\n") == before.count(b"\n") for f in many)
END
	grep -q "^Reads:" "$mnt/status"
	[[ $(head -c 6 "$mnt/status") = Kernel && $(tail -n 1 "$mnt/status") = Uptime_seconds:* ]]
	[[ $(wc -l <"$mnt/status") = $(cat "$mnt/status" | wc -l) ]]
	cp "$mnt/status" "$BATS_TEST_TMPDIR/copy"
	[[ -s $BATS_TEST_TMPDIR/copy ]]
	run ! dd if=/dev/null of="$mnt/status"
}

@test "SIGUSR1 logs the contents of status" {
	make_checkpoint plain
	mount_foreground "$BATS_TEST_TMPDIR/log" "$model" "$mnt"
	cat "$mnt/fp16/model.safetensors" >/dev/null
	kill -USR1 "$server"
	wait_until 10 grep -q uptime_seconds "$BATS_TEST_TMPDIR/log"
	diff <(sed -n 's/^gptqfs: kernel /kernel /p' "$BATS_TEST_TMPDIR/log" | sed 's/, seccomp//; s/, /\n/g' | sed 's/ .*//') \
		<(sed 's/:.*//; s/.*/\L&/' "$mnt/status")
	[[ $(sed -n 's/.* bytes_served \([0-9]*\),.*/\1/p' "$BATS_TEST_TMPDIR/log") = $(fact Bytes_served) ]]
}

# ---- extended attributes ----

# attribute NAME FILE: without the blanks before numbers of the root.
attribute() {
	getfattr --only-values --absolute-names -n "user.gptqfs.$1" "$2" | sed 's/^ *//'
}

# attributes FILE: their names, on one line.
attributes() {
	getfattr --absolute-names "$1" | sed -n 's/^user\.gptqfs\.//p' | LC_ALL=C sort | tr '\n' ' '
}

@test "the root has the counters as attributes, in every view" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	[[ $(attributes "$mnt") = "$(sed 's/:.*//; s/.*/\L&/' "$mnt/status" | LC_ALL=C sort | tr '\n' ' ')" ]]
	[[ $(attribute cache_budget_bytes "$mnt") = 33554432 ]]
	unmount "$mnt"
	mount_model -o view=fp16 "$source" "$mnt"
	[[ ! -e $mnt/status ]]
	[[ $(attribute view "$mnt") = fp16 && $(attribute bytes_served "$mnt") = 0 ]]
	cat "$mnt/model.safetensors" >/dev/null
	[[ $(attribute bytes_served "$mnt") = $(stat -c %s "$mnt/model.safetensors") ]]
	[[ $(attribute view "$mnt/model.safetensors") = fp16 && $(attribute tensors "$mnt/model.safetensors") = 21 ]]
}

@test "files of weights have attributes for contents and source" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	for pair in fp16=F16 bf16=BF16 fp32=F32; do
		file=$mnt/${pair%=*}/model.safetensors
		[[ $(attributes "$file") = "dtype source tensors view " ]]
		[[ $(attribute dtype "$file") = "${pair#*=}" && $(attribute view "$file") = "${pair%=*}" ]]
		[[ $(attribute tensors "$file") = "$(value_of Tensors "$mnt/info")" ]]
		[[ $(attribute source "$file" | sed 's/, /\n/g' | LC_ALL=C sort) = "$(cd "$source" && LC_ALL=C ls *.safetensors)" ]]
	done
	[[ $(attribute source "$mnt/fp16/tokenizer.json") = tokenizer.json ]]
	[[ $(attribute view "$mnt/fused/bf16/config.json") = fused/bf16 && -z $(attributes "$mnt/fused") ]]
	[[ $(attributes "$mnt/packed/model.safetensors") = "source tensors view " ]]
	[[ $(attribute tensors "$mnt/packed/model.safetensors") = "$("$GPTQFS" --check --sha256 -o view=packed "$source" | jq length)" ]]
	[[ $(attribute view "$mnt/fp16") = fp16 ]]
	[[ -z $(attributes "$mnt/README") ]]
}

@test "files of one module have its attributes" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	jq -c '.modules[]' "$mnt/info.json" | while read -r row; do
		name=$(jq -r .name <<<"$row")
		for suffix in .safetensors .npy .t.npy; do
			file=$mnt/tensors/${name//./\/}$suffix
			for key in bits group_size act_order symmetric scale_dtype; do
				[[ $(attribute $key "$file") = "$(jq -r ".$key" <<<"$row")" ]] || fail "$name: $key"
			done
			[[ $(attribute module "$file") = "$name" && $(attribute tensor "$file") = "$name.weight" ]]
			[[ $(attribute shape "$file") = "$(jq -r '"[\(.out_features), \(.in_features)]"' <<<"$row")" ]]
			[[ $(attribute source "$file") = "$(jq -r '.shards | join(", ")' <<<"$row")" ]]
			[[ $(attribute dtype "$file") = F16 && $(attribute view "$file") = tensors ]]
		done
	done
	file=$mnt/tensors/model/layers/0/self_attn/qkv_proj.npy
	[[ $(attribute bits "$file") = 4 && $(attribute shape "$file") = "[256, 128]" ]]
	[[ $(attribute module "$file") = "model.layers.0.self_attn.q_proj, model.layers.0.self_attn.k_proj, model.layers.0.self_attn.v_proj" ]]
	[[ $(attributes "$mnt/tensors/model/norm.npy") = "dtype shape source tensor tensors view " ]]
	[[ $(attribute tensor "$mnt/tensors/model/norm.npy") = model.norm.weight ]]
}

@test "parts that differ in width are mixed" {
	find_model tiny-llama-4b-dynamic
	mount_model "$source" "$mnt"
	found=
	while read -r file; do
		[[ $(attribute bits "$file") != mixed ]] || found+=" $file"
	done < <(find "$mnt/tensors" -name '*_proj.npy')
	for file in $found; do
		[[ $file = */qkv_proj.npy || $file = */gate_up_proj.npy ]] || fail "$file"
	done
	[[ -n $found ]]
}

@test "attributes by the system calls: sizes, short buffers, unknown names" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	python3 - "$mnt" <<'END'
import ctypes, errno, os, sys
libc = ctypes.CDLL(None, use_errno=True)
root = os.fsencode(sys.argv[1])
file = root + b"/fp16/model.safetensors"

def call(name, *args):
    n = getattr(libc, name)(*args)
    return n if n >= 0 else -ctypes.get_errno()

for path in root, file:
    need = call("listxattr", path, None, 0)
    assert need > 0
    room = ctypes.create_string_buffer(need)
    assert call("listxattr", path, room, need) == need
    names = room.raw.split(b"\0")[:-1]
    assert len(names) == len(set(names)) and all(n.startswith(b"user.gptqfs.") for n in names), names
    assert call("listxattr", path, room, need - 1) == -errno.ERANGE
    assert call("listxattr", path, room, 1) == -errno.ERANGE
    for name in names:
        need = call("getxattr", path, name, None, 0)
        room = ctypes.create_string_buffer(need)
        n = call("getxattr", path, name, room, need)
        # Counters grow between two calls, but their size does not.
        assert n == need, (name, n, need)
        assert b"\0" not in room.raw[:n]
        if n > 1:
            assert call("getxattr", path, name, room, n - 1) == -errno.ERANGE, name
    for missing in b"user.gptqfs.", b"user.gptqfs.nothing", b"user.other", b"security.capability", b"user.gptqfs.bit":
        assert call("getxattr", path, missing, None, 0) == -errno.ENODATA, missing
    assert call("setxattr", path, b"user.gptqfs.view", b"x", 1, 0) in (-errno.EROFS, -errno.EOPNOTSUPP)
    assert call("removexattr", path, b"user.gptqfs.view") in (-errno.EROFS, -errno.EOPNOTSUPP)
END
}

@test "sizes of attributes never change, so rsync -aX copies a mount" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	python3 - "$mnt" <<'END'
import os, sys
root = sys.argv[1]
sizes = {}
for i in range(20):
    for name in os.listxattr(root):
        value = os.getxattr(root, name)
        assert sizes.setdefault(name, len(value)) == len(value), (name, value)
        assert not value.strip().isdigit() or len(value) == 20, (name, value)
    for where, _, names in os.walk(os.path.join(root, "fp16")):
        for name in names:
            open(os.path.join(where, name), "rb").read()
END
	command -v rsync >/dev/null || skip "needs rsync"
	touch "$BATS_TEST_TMPDIR/probe"
	setfattr -n user.probe -v 1 "$BATS_TEST_TMPDIR/probe" || skip "no extended attributes here"
	cat "$mnt/bf16/model.safetensors" >/dev/null &
	run -0 rsync -aX --exclude=status "$mnt/" "$BATS_TEST_TMPDIR/copy/"
	[[ -z $output ]]
	wait $!
	cmp "$mnt/fp16/model.safetensors" "$BATS_TEST_TMPDIR/copy/fp16/model.safetensors"
	[[ $(attribute dtype "$BATS_TEST_TMPDIR/copy/fp16/model.safetensors") = F16 ]]
}

# ---- file handles ----

# forgotten COUNT: the kernel has forgotten more inodes than that.
forgotten() {
	(($(grep -c FORGET "$BATS_TEST_TMPDIR/log") > $1))
}

@test "a file handle is valid as long as the mount, for NFS" {
	need_root
	[[ -w /proc/sys/vm/drop_caches ]] || skip "cannot drop inodes"
	find_model tiny-llama-4b-g32-shard
	mount_foreground "$BATS_TEST_TMPDIR/log" -d "$source" "$mnt"
	"$HANDLES" save "$mnt/fp16/config.json" >"$BATS_TEST_TMPDIR/file"
	"$HANDLES" save "$mnt/tensors/model/layers" >"$BATS_TEST_TMPDIR/directory"
	"$HANDLES" save "$mnt" >"$BATS_TEST_TMPDIR/root"
	# The kernel forgets the inodes. Lookup of "." brings them back, and ".." the directories above.
	forgets=$(grep -c FORGET "$BATS_TEST_TMPDIR/log" || true)
	echo 2 >/proc/sys/vm/drop_caches
	wait_until 10 forgotten "$forgets"
	cmp <("$HANDLES" open "$mnt" <"$BATS_TEST_TMPDIR/file") "$mnt/fp16/config.json"
	[[ $("$HANDLES" open "$mnt" <"$BATS_TEST_TMPDIR/directory") = "$mnt/tensors/model/layers" ]]
	[[ $("$HANDLES" open "$mnt" <"$BATS_TEST_TMPDIR/root") = "$mnt" ]]
	# Another mount may have other files.
	unmount "$mnt"
	sleep 1.1
	mount_model "$source" "$mnt"
	run -3 "$HANDLES" open "$mnt" <"$BATS_TEST_TMPDIR/file"
	run -3 "$HANDLES" open "$mnt" <"$BATS_TEST_TMPDIR/directory"
	[[ -e $mnt/fp16/config.json ]]
}

@test "-o noxattr: none, and the kernel asks once" {
	make_checkpoint plain
	mount_foreground "$BATS_TEST_TMPDIR/log" -d -o noxattr "$model" "$mnt"
	for i in 1 2 3; do
		run ! getfattr -n user.gptqfs.reads "$mnt"
		[[ $output = *"not supported"* ]]
		run getfattr -d "$mnt/fp16/config.json"
		[[ $output != *user.gptqfs* ]]
	done
	[[ $(grep -c GETXATTR "$BATS_TEST_TMPDIR/log") = 1 && $(grep -c LISTXATTR "$BATS_TEST_TMPDIR/log") = 1 ]]
}

# ---- ls, du, tree, find, stat, df ----

@test "ls, du, find, stat, tree and df are right" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	file=$mnt/fp16/model.safetensors
	size=$(wc -c <"$file")
	read -r _ links _ _ listed _ < <(LC_ALL=C ls -l "$file")
	[[ $listed = "$size" && $links = 1 ]]
	[[ $(stat -c '%s %b %B' "$file") = "$size $(((size + 511) / 512)) 512" ]]
	# The newest of the shards; passed files have their own.
	newest=$(stat -c %Y "$source"/*.safetensors | sort -n | tail -1)
	[[ $(stat -c %Y "$file") = "$newest" ]]
	[[ $(stat -Lc '%Y %s' "$source/tokenizer.json") = "$(stat -c '%Y %s' "$mnt/fp16/tokenizer.json")" ]]
	# What files hold, in blocks and in bytes; directories are free.
	sum=$(find "$mnt" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')
	blocks=$(find "$mnt" -type f -printf '%b\n' | awk '{ n += $1 } END { print n }')
	[[ $(du -s --block-size=1 --apparent-size "$mnt" | cut -f1) = "$sum" ]]
	[[ $(du -s --block-size=512 "$mnt" | cut -f1) = "$blocks" ]]
	[[ $(find "$mnt"/{fp16,bf16} -size "${size}c" | wc -l) = 2 ]]
	[[ -z $(find "$mnt" -type f -size 0 ! -name status) ]]
	# Every directory once, every file once.
	dirs=$(find "$mnt" -mindepth 1 -type d | wc -l) files=$(find "$mnt" -type f | wc -l)
	[[ $(tree -a "$mnt" | tail -1) = "$((dirs + 1)) directories, $files files" ||
		$(tree -a "$mnt" | tail -1) = "$dirs directories, $files files" ]]
	[[ $(find "$mnt" -printf '%i\n' | sort | uniq -d | wc -l) = 0 ]]
	find "$mnt" -type d | while read -r dir; do
		[[ $(stat -c %h "$dir") = $(($(find "$dir" -mindepth 1 -maxdepth 1 -type d | wc -l) + 2)) ]] || fail "$dir: links"
	done
	# df: all the files, all of it used.
	read -r total used free <<<"$(df --output=size,used,avail -B1 "$mnt" | tail -1)"
	[[ $total = "$used" && $free = 0 && $total = $(((sum + 4095) / 4096 * 4096)) ]]
	[[ $(df --output=itotal,iavail "$mnt" | tail -1 | xargs) = "$((dirs + files + 1)) 0" ]]
	[[ $(df --output=fstype,source "$mnt" | tail -1 | xargs) = "fuse.gptqfs $(realpath "$source")" ]]
}

@test "inode numbers are the same in the next mount" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	before=$(cd "$mnt" && find . -printf '%i %p %s\n' | sort)
	unmount "$mnt"
	mount_model -o cache=1m "$source" "$mnt"
	[[ $(cd "$mnt" && find . -printf '%i %p %s\n' | sort) = "$before" ]]
}

@test "a look around with cat, grep, head, less and jq" {
	find_model tiny-llama-4b-g32-shard
	mount_model "$source" "$mnt"
	cat "$mnt"/README "$mnt"/info "$mnt"/status >/dev/null
	[[ $(grep -c . "$mnt/info") = $(wc -l <"$mnt/info") ]]
	[[ $(head -1 "$mnt/info") = Summary:* ]]
	[[ $(less "$mnt/status" | head -1) = Kernel:* ]] || ! command -v less >/dev/null
	[[ $(jq -r .architectures[0] "$mnt/fp16/config.json") = LlamaForCausalLM ]]
	[[ $(jq -r '.modules[] | select(.bits != 4) | .name' "$mnt/info.json") = "" ]]
	[[ $(grep -rl "^Format:" "$mnt" --include=info) = "$mnt/info" ]]
}
