#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Small directories made to lead elsewhere, to widen permissions, or to be expensive; see tests/tools/hostile.py. Each
# must be refused or served within 5 CPU seconds and 256 MB of private memory, without disclosing anything.

load lib

make_hostile() {
	! sanitized || skip "a sanitizer takes more than the limits here"
	mkdir -p "$model"
	PYTHONDONTWRITEBYTECODE=1 python3 -S "$TESTS/tools/hostile.py" "$1" "$model"
	expected=$model
	[[ ! -d $model/models--org--name ]] || model=$model/models--org--name
}

# bounded COMMAND...: within the limits, which count the stacks of threads in full.
bounded() {
	(
		ulimit -St 5
		ulimit -s 512
		ulimit -d $((256 << 10))
		exec timeout 120 "$@"
	)
}

# shown CODE [COMMAND...]: the directory mounts, or is refused with CODE and one line, but never for lack of memory.
shown() {
	local code=$1

	shift
	mkdir -p "$mnt"
	[[ $# != 0 ]] || set -- ls "$mnt"
	run "-$code" --separate-stderr bounded "$GPTQFS" "$model" "$mnt" -- "$@"
	[[ $stderr != *"out of memory"* ]] || fail "$stderr"
	[[ $code = 0 || ${#stderr_lines[@]} = 1 ]] || fail "$stderr"
	not_mounted "$mnt"
}

# ---- out of a cache entry ----

@test "blobs is a link to a directory of secrets" {
	make_hostile blobs_linked
	mkdir "$mnt"
	run --separate-stderr bounded "$GPTQFS" "$model" "$mnt" -- grep -r secret "$mnt"
	[[ $status != 0 && -z $output ]]
}

@test "the snapshot is a link to a directory elsewhere" {
	make_hostile snapshot_linked
	shown 2
	[[ $stderr = *follow_symlinks* ]]
}

@test "refs/main is a FIFO" {
	make_hostile ref_fifo
	shown 2
}

@test "a FIFO among the files" {
	make_hostile fifo
	shown 0
}

@test "a FIFO as configuration" {
	make_hostile fifo_config
	shown 3
	[[ $stderr = *quant_config.json*"not a regular file"* ]]
}

@test "a link to a device" {
	make_hostile device_linked
	shown 0 cat "$mnt/fp16/config.json"
}

# ---- rights ----

# refused_to_nobody FILE: user nobody can read it neither at the source nor in the mount.
refused_to_nobody() {
	need_root
	mount_model -o allow_other "$model" "$mnt"
	run ! setpriv --reuid=65534 --regid=65534 --clear-groups cat "$mnt/$1"
	cat "$mnt/$1" >/dev/null
}

public_model() {
	need_root
	public_directory
	chmod 755 "$dir"
	model=$dir/model
	mnt=$dir/mnt
	make_checkpoint "$1"
}

@test "a file of a directory that others cannot enter" {
	public_model plain
	mkdir "$model/1_Pooling"
	echo "{}" >"$model/1_Pooling/config.json"
	chmod 700 "$model/1_Pooling"
	refused_to_nobody fp16/1_Pooling/config.json
}

@test "a model directory that others can list and not enter" {
	public_model plain
	chmod 744 "$model"
	refused_to_nobody fp16/config.json
}

@test "shards of several owners" {
	public_model sharded
	chmod 400 "$model"/*.safetensors
	chown 65534 "$model/model-00001-of-00003.safetensors"
	refused_to_nobody fp16/model.safetensors
}

@test "an access control list that keeps the group out" {
	public_model plain
	chgrp 65534 "$model/tokenizer.json"
	python3 - "$model/tokenizer.json" <<-'END' || skip "the file system has no access control lists"
		import os, struct, sys
		entries = [(1, 6, -1), (2, 4, 12345), (4, 0, -1), (16, 4, -1), (32, 0, -1)]
		acl = struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *e) for e in entries)
		os.setxattr(sys.argv[1], "system.posix_acl_access", acl)
	END
	[[ $(stat -c %A "$model/tokenizer.json") = -rw-r----- ]]
	refused_to_nobody fp16/tokenizer.json
}

# ---- costs ----

@test "a pattern of nested repetitions" {
	make_hostile pattern_nested
	shown 0
}

@test "a pattern of repetitions nested three times" {
	make_hostile pattern_thrice_nested
	shown 0
}

@test "a pattern that goes back over back-references" {
	make_hostile pattern_backtracking
	shown 0
}

@test "a pattern that takes exponential time" {
	make_hostile pattern_exponential
	shown 0
}

@test "2000 patterns for 2000 modules" {
	make_hostile patterns_by_modules
	shown 3
	[[ $stderr = *" fits several widths, "*"the pattern "*"take too many steps"* ]] || fail "$stderr"
}

@test "a shape of ten million dimensions" {
	make_hostile long_shape
	shown 3
}

@test "a config.json of 14 MB" {
	make_hostile large_config
	shown 3
}

@test "a config.json seven million levels deep" {
	make_hostile deep_config
	shown 3
}

@test "16,000 files, each in a directory of its own" {
	make_hostile many_directories
	shown 0
}

@test "400,000 empty tensors" {
	make_hostile many_tensors
	shown 3
	[[ $stderr = *"no model is like that"* ]]
}

@test "what MLX says of all modules comes after 150,000 other members" {
	make_hostile many_mlx_members
	shown 0
}

@test "300,000 members of config.json, none of which tells of the biases of 10,000 modules" {
	make_hostile many_biases
	shown 0
}

@test "256 long g_idx that are holes" {
	make_hostile many_g_idx
	shown 3
	[[ $stderr = *g_idx*"they have holes"* ]]
}

@test "zeros of 2^28 outputs that are a hole" {
	make_hostile wide_zeros
	shown 3
	[[ $stderr = *"16777216 columns"* ]]
}

@test "rows of 512 MB" {
	make_hostile wide_rows
	shown 3
	[[ $stderr = *"16777216 columns"* ]]
}

@test "an expert whose outputs are columns, 2^26 of them" {
	make_hostile wide_stack
	shown 0 sh -c "grep 'elements, but at most 4194304 are supported' '$mnt/info' && head -c 9999999 '$mnt/fp32/model.safetensors' | wc -c"
	[[ $output = *9999999 ]] || fail "$output"
}

@test "an expert of as many outputs as are stacked" {
	make_hostile widest_stack
	shown 0 sh -c "tail -c 1000 '$mnt/fp32/model.safetensors' | wc -c"
	[[ $output = 1000 ]] || fail "$output"
}

# ---- names ----

@test "a directory called as the view calls its weights" {
	make_hostile name_twice
	mount_model "$model" "$mnt"
	[[ -z $(ls "$mnt/fp16" | uniq -d) ]]
	[[ -f $mnt/fp16/model.safetensors ]]
}

@test "a tensor called as the metadata, spelled otherwise" {
	make_hostile metadata_tensor
	shown 3
	[[ $stderr = *__metadata__* ]]
}

@test "a tensor that bears the new name of another" {
	make_hostile renamed_twice
	shown 3
	[[ $stderr = *block_sparse_moe.experts.0.w1.weight* ]]
}

@test "names that write to the terminal, and forge lines of the log" {
	make_hostile control_names
	mount_foreground "$BATS_TEST_TMPDIR/log" "$model" "$mnt"
	run -0 cat "$mnt/info"
	[[ $output != *$'\e'* && $output != *$'\u009b'* && $output != *$'\u202e'* ]]
	for file in "$model"/*well.json "$model/model.safetensors"; do
		truncate -s 1 "$file"
	done
	run ! cat "$mnt/fp16"/*well.json
	run ! cat "$mnt/fp16/model.safetensors"
	[[ $(wc -l <"$BATS_TEST_TMPDIR/log") = 2 ]]
	run ! grep -P '[^\x20-\x7e]' "$BATS_TEST_TMPDIR/log"
}

@test "group_size 2^32" {
	make_hostile group_size_large
	shown 3
	[[ $stderr = *group_size* ]]
}

@test "a shape that is a string" { make_hostile shape_string && shown 3; }
@test "a shape that is a number" { make_hostile shape_number && shown 3; }
@test "a shape that is null" { make_hostile shape_null && shown 3; }
@test "a shape that is an object" { make_hostile shape_object && shown 3; }
@test "a dimension of 64.0" { make_hostile shape_fraction && shown 3; }
