#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Checkpoints that cannot be served are refused before mounting; sources that go bad later only make reads fail: no
# reader ever gets wrong bytes.

load lib

Q=model.layers.0.self_attn.q_proj
AGAIN=fetch

# refused CODE KIND WORD...: a mount of this checkpoint fails with this code and with one line that has all the words,
# and leaves no mount; --check says the same.
refused() {
	local code=$1 word

	make_checkpoint "$2"
	mkdir "$mnt"
	shift 2
	run "-$code" --separate-stderr "$GPTQFS" "$model" "$mnt"
	[[ -z $output && ${#stderr_lines[@]} = 1 && $stderr = "gptqfs: "* ]] || fail "$stderr"
	for word; do
		[[ $stderr = *"$word"* ]] || fail "\"$word\" is not in: $stderr"
	done
	not_mounted "$mnt"
	[[ -z $(ls -A "$mnt") ]]
	message=$stderr
	run "-$code" --separate-stderr "$GPTQFS" --check "$model"
	[[ -z $output && $stderr = "$message" ]] || fail "--check says: $stderr"
}

# ---- nothing readable as weights ----

@test "missing directory" {
	mkdir "$mnt"
	run -2 "$GPTQFS" "$model" "$mnt"
	[[ $output = *"$model: no such directory"* ]]
	not_mounted "$mnt"
}

@test "empty directory" { refused 2 empty "$BATS_TEST_TMPDIR/model" "no files" give; }
@test "no weights" { refused 2 only_json "$BATS_TEST_TMPDIR/model" "no *.safetensors" give; }
@test "only .pt" { refused 2 only_pt model.pt pickle "convert them to safetensors"; }
@test "only .bin" { refused 2 only_bin pytorch_model.bin pickle "convert them to safetensors"; }
@test "only .gguf" { refused 2 only_gguf model-q4.gguf GGUF safetensors; }
@test "a directory called model.safetensors" { refused 2 weights_directory "no *.safetensors"; }

@test "a directory without permission" {
	need_root
	make_checkpoint plain
	mkdir "$mnt"
	# User nobody may not reach the binary and the tests either; only the requested file counts.
	public_directory
	cp "$GPTQFS" "$dir/gptqfs"
	mv "$model" "$dir/model"
	chmod 700 "$dir/model"
	run -2 --separate-stderr setpriv --reuid=65534 --regid=65534 --clear-groups env ASAN_OPTIONS= UBSAN_OPTIONS= \
		TSAN_OPTIONS= "$dir/gptqfs" --check "$dir/model"
	[[ $stderr = *"Permission denied: $dir/model;"*readable* ]]
	chmod 755 "$dir/model"
	chmod 600 "$dir/model/model.safetensors"
	run -2 --separate-stderr setpriv --reuid=65534 --regid=65534 --clear-groups env ASAN_OPTIONS= UBSAN_OPTIONS= \
		TSAN_OPTIONS= "$dir/gptqfs" --check "$dir/model"
	[[ $stderr = *"Permission denied: $dir/model/model.safetensors;"* ]]
}

# ---- files ----

@test "Git LFS pointer as weights" { refused 3 lfs_weights model.safetensors "Git LFS pointer" "git lfs pull"; }
@test "Git LFS pointer as config.json" { refused 3 lfs_config config.json "Git LFS pointer" "git lfs pull"; }

@test "Git LFS pointer as index" {
	refused 3 lfs_index model.safetensors.index.json "Git LFS pointer" "git lfs pull"
}

@test "missing shard" {
	refused 3 missing_shard model-00002-of-00003.safetensors model.safetensors.index.json missing $AGAIN
}

@test "a shard lacks a tensor of the index" {
	refused 3 missing_in_shard model.layers.7.mlp.up_proj.qweight model-00001-of-00002.safetensors \
		model.safetensors.index.json $AGAIN
}

@test "one tensor in two files without an index" {
	refused 3 twice lm_head.weight a.safetensors b.safetensors remove
}

@test "malformed index" { refused 3 bad_index model.safetensors.index.json weight_map $AGAIN; }
@test "malformed JSON in config.json" { refused 3 bad_config_json config.json "byte 23" $AGAIN; }

@test "malformed UTF-8 in quantize_config.json" {
	refused 3 bad_config_utf8 quantize_config.json "byte 21" UTF-8 $AGAIN
}

@test "cache entry without its snapshot" { refused 2 hf_cache_no_snapshot snapshots/fffffff "no such directory"; }

@test "cache entry with a link to a blob that is not there" {
	refused 3 hf_cache_no_blob model.safetensors "not there" download
}

# ---- paths that lead out ----

@test "weight_map with .." {
	refused 3 dotdot model.safetensors.index.json "../outside.safetensors" "inside the model"
}

@test "weight_map with .. in the middle" {
	refused 3 dotdot_inside model.safetensors.index.json "x/../../outside.safetensors" "inside the model"
}

@test "weight_map with an absolute path" {
	refused 3 absolute model.safetensors.index.json "\"$BATS_TEST_TMPDIR/outside.safetensors\"" "inside the model"
}

@test "weights by a symbolic link that leaves the model" {
	refused 3 symlink_out model.safetensors "symbolic link" "-o follow_symlinks"
	mount_model -o follow_symlinks,view=fp16 "$model" "$mnt"
	compare_view "$mnt" F16
}

@test "another file by a symbolic link that leaves the model" {
	refused 3 symlink_out_companion tokenizer.json "symbolic link" "-o follow_symlinks"
}

@test "a symbolic link to a directory elsewhere shows nothing of it" {
	make_checkpoint plain
	ln -s /etc "$model/etc"
	mount_model -o view=fp16 "$model" "$mnt"
	[[ ! -e $mnt/etc/passwd ]]
}

# ---- the container ----

@test "a file of three bytes" { refused 3 short model.safetensors "3 bytes" $AGAIN; }
@test "a header longer than the file" { refused 3 header_long model.safetensors 5000 "at most 8" $AGAIN; }

@test "a header of more than 100 MB" {
	refused 3 header_huge model.safetensors 100000001 "at most 100000000" $AGAIN
}

@test "malformed JSON in the header" { refused 3 bad_json model.safetensors "malformed JSON at byte" $AGAIN; }

@test "malformed UTF-8 in the header" {
	refused 3 bad_utf8 model.safetensors "malformed JSON at byte" UTF-8 $AGAIN
}

@test "a tensor that occurs twice in the header" { refused 3 key_twice model.safetensors lm_head.weight $AGAIN; }
@test "overlapping offsets" { refused 3 overlap model.safetensors lm_head.weight expected overlap $AGAIN; }
@test "a gap between offsets" { refused 3 gap model.safetensors model.embed_tokens.weight expected gap $AGAIN; }
@test "a shape that does not fit the bytes" { refused 3 wrong_bytes model.safetensors $Q.scales 192 256 $AGAIN; }
@test "an unknown dtype" { refused 3 unknown_dtype model.safetensors lm_head.weight Q4_K; }
@test "a truncated file" { refused 3 truncated model.safetensors lm_head.weight truncated $AGAIN; }
@test "a file that is too long" { refused 3 longer model.safetensors "the tensors end at byte" $AGAIN; }

# ---- the tensors ----

@test "no qweight" { refused 3 no_qweight model.safetensors $Q.qweight missing $AGAIN; }
@test "no scales" { refused 3 no_scales model.safetensors $Q.scales missing expected $AGAIN; }
@test "no qzeros in a module marked as not symmetric" {
	refused 3 no_qzeros_asym_module model.safetensors $Q.qzeros missing sym
}
@test "no qzeros, and not symmetric" { refused 3 no_qzeros_asym model.safetensors $Q.qzeros missing sym; }
@test "columns of scales and qweight differ" { refused 3 bad_columns model.safetensors $Q.scales 60 64 $AGAIN; }
@test "rows of qweight that fit no width" { refused 3 bad_rows model.safetensors $Q "[9, 64]" expected $AGAIN; }

@test "rows of qzeros and scales differ" {
	refused 3 bad_groups model.safetensors $Q.qzeros "[3, 8]" expected $AGAIN
}

@test "groups that no group size makes" {
	refused 3 bad_group_size model.safetensors $Q "7 groups" "group_size 32"
}

@test "scales that are integers" { refused 3 bad_scales_dtype model.safetensors $Q.scales I32 expected F16 $AGAIN; }

@test "g_idx beyond the groups" {
	refused 3 g_idx_large model.safetensors $Q.g_idx "element 40 is 2" "0 to 1" $AGAIN
}

@test "g_idx below zero" { refused 3 g_idx_negative model.safetensors $Q.g_idx "element 40 is -1" "0 to 1" $AGAIN; }
@test "weight beside qweight" { refused 3 both_weights model.safetensors $Q .weight .qweight remove; }
@test "an expert renamed to the name of an integer tensor" { refused 3 renamed_twice "two tensors" w1.weight remove; }

# ---- other formats ----

@test "Marlin by checkpoint_format" { refused 3 marlin_label quantize_config.json marlin Marlin expected convert; }
@test "Marlin by quant_method" { refused 3 marlin_method quantize_config.json marlin Marlin expected convert; }
@test "Marlin by is_marlin_format" { refused 3 marlin_flag quantize_config.json is_marlin_format Marlin convert; }
@test "Marlin by its tensors" { refused 3 marlin_tensors $Q.B Marlin convert; }
@test "BitBLAS" { refused 3 bitblas_label quantize_config.json bitblas BitBLAS expected convert; }
@test "float zeros of the first GPTQ-for-LLaMa" {
	refused 3 float_zeros model.safetensors q_proj.zeros GPTQ-for-LLaMa $AGAIN
}

@test "compressed-tensors by quant_method" {
	refused 3 compressed_tensors_label quantize_config.json compressed-tensors $AGAIN
}

@test "compressed-tensors whose shape is data, and wrong" {
	refused 3 compressed_tensors_tensors $Q.weight_shape "[0, 0]" "64 rows" $AGAIN
}

@test "FP8 by quant_method" { refused 3 fp8_label quantize_config.json fp8 FP8 "named like GPTQ's" $AGAIN; }
@test "HQQ by quant_method" { refused 3 hqq_label quantize_config.json hqq HQQ $AGAIN; }
@test "HQQ by its tensors" { refused 3 hqq_tensors $Q.encoded_state_dict HQQ $AGAIN; }
@test "EXL2 by quant_method" { refused 3 exl2_label quantize_config.json exl2 EXL2 convert; }
@test "EXL2 by its tensors" { refused 3 exl2_tensors $Q.q_weight EXL2 convert; }
@test "EXL3 by quant_method" { refused 3 exl3_label quantize_config.json exl3 EXL3 convert; }
@test "EXL3 by its tensors" { refused 3 exl3_tensors $Q.trellis EXL3 convert; }
@test "a width that a pattern may say which cannot be evaluated" {
	refused 3 unsure_width $Q "several widths" "the pattern" "use the plain name of the module"
}
@test "llm-awq by its tensors" { refused 3 llm_awq_tensors $Q.scaled_zeros llm-awq $AGAIN; }
@test "MLX by its tensors" { refused 3 mlx_tensors $Q.weight MLX $AGAIN; }
@test "MLX by config.json alone" { refused 3 mlx_config config.json MLX $AGAIN; }
@test "8-bit integers and a scale" { refused 3 int8_tensors $Q.weight I8 $Q.scale_of_it $AGAIN; }
@test "words and a scale, as Quark stores them" { refused 3 quark_tensors $Q.weight I32 $Q.weight_scale $AGAIN; }
@test "FP8 and a scale with an unknown name" { refused 3 fp8_odd_name $Q.weight F8_E4M3 $Q.weight_wobble $AGAIN; }
@test "a scaled weight in a GPTQ model, its scale in another shard" {
	refused 3 scaled_elsewhere model-00001 mlp.up_proj.weight I8 zz_scales/ $AGAIN
}
@test "an unknown method" { refused 3 unknown_method quantize_config.json zipweights expected gptq; }
@test "an unknown format" { refused 3 unknown_format quantize_config.json gptq_v9 expected gptq; }
@test "rotated weights" { refused 3 rotated quantize_config.json rotation $AGAIN; }
@test "not quantized at all" { refused 3 dense "not quantized" "use the directory as it is"; }

# ---- odd, but served, with a warning ----

# warns KIND WORD...: it is served, and info has one warning with all the words.
warns() {
	local word

	make_checkpoint "$1"
	shift
	mount_model "$model" "$mnt"
	compare_view "$mnt/fp16" F16
	grep -qx "Warnings: *1" "$mnt/info"
	run -0 grep "^Warning: " "$mnt/info"
	for word; do
		[[ $output = *"$word"* ]] || fail "\"$word\" is not in: $output"
	done
}

@test "no config.json" { warns no_config "no config.json"; }

@test "no qzeros, and nothing says sym" { warns no_qzeros_no_sym "2 modules" mlp.down_proj "no zeros" symmetric; }

@test "configurations that disagree" {
	warns disagreeing quantize_config.json config.json disagree checkpoint_format
}

@test "a tensor that the index places in another shard" {
	warns misplaced model-00001-of-00002.safetensors model.norm.weight ignored
}

@test "a shard with a hole" { warns hole model.safetensors "nothing was ever written from byte" download; }

# ---- sources that go bad while mounted ----

# mount_watched [OPTION...]: $model in the foreground, its log in $log; copies of its fp16 weights in $copy.
mount_watched() {
	log=$BATS_TEST_TMPDIR/log
	copy=$BATS_TEST_TMPDIR/copy
	"$GPTQFS" --check "$model" >/dev/null
	mount_model "$model" "$mnt"
	cp -r "$mnt/fp16" "$copy"
	unmount "$mnt"
	mount_foreground "$log" "$@" "$model" "$mnt"
}

# one_line WORD...: the log is one line, with all the words.
one_line() {
	local word

	[[ $(grep -vc "^gptqfs: readahead" "$log") = 1 ]] || fail "$(cat "$log")"
	for word; do
		grep -qF -- "$word" "$log" || fail "$(cat "$log")"
	done
}

# The server is running, and files that need no source are readable.
still_serving() {
	is_running "$server"
	[[ $(cat "$mnt/bf16/config.json") = *bfloat16* ]]
	cmp "$mnt/fp32/tokenizer.json" "$model/tokenizer.json"
}

@test "a source truncated while mounted" {
	copy_model tiny-llama-4b-g32-asym-act
	mount_watched -o readahead=32
	# Some pages are in the page cache before, and stay right.
	head -c 200000 "$mnt/fp16/model.safetensors" | cmp - <(head -c 200000 "$copy/model.safetensors")
	truncate -s 90000 "$model/model.safetensors"
	run -0 read_or_eio "$mnt/fp16/model.safetensors" "$copy/model.safetensors"
	[[ $output != *" 0 failed" ]] || fail "$output"
	run ! cat "$mnt/bf16/model.safetensors"
	[[ $output = *"Input/output error"* ]]
	run ! cat "$mnt/fp32/model.safetensors"
	one_line model.safetensors changed
	still_serving
	unmount "$mnt"
}

@test "a source truncated while mounted, by mmap" {
	make_checkpoint plain
	mount_watched
	truncate -s 9000 "$model/model.safetensors"
	# 135 is SIGBUS, as for any unreadable mapped file: a reader dies, the server does not.
	run -135 python3 -c 'import mmap, sys
with open(sys.argv[1], "rb") as f:
    sum(mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)[4096:])' "$mnt/fp16/model.safetensors"
	one_line model.safetensors changed
	still_serving
}

@test "a source overwritten in place" {
	copy_model tiny-llama-4b-g32-asym-act
	mount_watched
	size=$(stat -c %s "$model/model.safetensors")
	dd if=/dev/urandom of="$model/model.safetensors" bs=4k seek=4 count=70 conv=notrunc status=none
	[[ $(stat -c %s "$model/model.safetensors") = "$size" ]]
	run -0 read_or_eio "$mnt/fp16/model.safetensors" "$copy/model.safetensors"
	[[ $output != *" 0 failed" ]] || fail "$output"
	one_line model.safetensors changed
	still_serving
}

@test "a source overwritten during a read: old bytes or EIO, nothing else" {
	copy_model tiny-llama-4b-g32-asym-act
	mount_watched -o direct_io,cache=0
	cat >"$BATS_TEST_TMPDIR/reader.py" <<'END'
import errno, os, sys, time
fd = os.open(sys.argv[1], os.O_RDONLY)
copy = open(sys.argv[2], "rb").read()
end = time.monotonic() + 20
at = 4096
while time.monotonic() < end:
    try:
        data = os.pread(fd, 1 << 16, at)
    except OSError as e:
        sys.exit(e.errno != errno.EIO)
    assert data == copy[at:at + len(data)], f"wrong bytes near {at}"
    at = at + len(data) if at + len(data) < len(copy) else 4096
sys.exit("the change was not noticed")
END
	readers=()
	for i in 1 2 3; do
		in_background python3 "$BATS_TEST_TMPDIR/reader.py" "$mnt/fp16/model.safetensors" "$copy/model.safetensors"
		readers+=("$process")
	done
	sleep 0.5
	# Page by page, so that decoding sees a partial change.
	for i in {0..79}; do
		dd if=/dev/urandom of="$model/model.safetensors" bs=4k seek=$((i + 2)) count=1 conv=notrunc status=none
	done
	for i in "${readers[@]}"; do
		wait "$i"
	done
	one_line model.safetensors changed
}

@test "a source replaced by rename is still served" {
	make_checkpoint plain
	mount_watched
	head -c "$(stat -c %s "$model/model.safetensors")" /dev/urandom >"$model/new"
	mv "$model/new" "$model/model.safetensors"
	cmp "$mnt/fp16/model.safetensors" "$copy/model.safetensors"
	rm -r "$model"
	compare_view "$mnt/fp32" F32
	[[ ! -s $log ]] || fail "$(cat "$log")"
}

@test "a source that loses its permissions is still served" {
	make_checkpoint plain
	mount_watched
	chmod 000 "$model"/*.safetensors "$model"
	cmp "$mnt/fp16/model.safetensors" "$copy/model.safetensors"
	[[ ! -s $log ]] || fail "$(cat "$log")"
	chmod 755 "$model"
}

@test "a source restored to its old bytes and times is not trusted until mounted again" {
	make_checkpoint plain
	mount_watched
	cp -p "$model/model.safetensors" "$BATS_TEST_TMPDIR/kept"
	truncate -s 5000 "$model/model.safetensors"
	run ! cat "$mnt/fp16/model.safetensors"
	cat "$BATS_TEST_TMPDIR/kept" >"$model/model.safetensors"
	touch -r "$BATS_TEST_TMPDIR/kept" "$model/model.safetensors"
	run ! cat "$mnt/fp16/model.safetensors"
	one_line "unmount and mount again"
	unmount "$mnt"
	mount_model "$model" "$mnt"
	cmp "$mnt/fp16/model.safetensors" "$copy/model.safetensors"
}

@test "a source overwritten in place with the same size and times" {
	copy_model tiny-llama-4b-g32-asym-act
	mount_watched
	cp -p "$model/model.safetensors" "$BATS_TEST_TMPDIR/kept"
	dd if=/dev/urandom of="$model/model.safetensors" bs=4k seek=4 count=70 conv=notrunc status=none
	touch -r "$BATS_TEST_TMPDIR/kept" "$model/model.safetensors"
	run -0 read_or_eio "$mnt/fp16/model.safetensors" "$copy/model.safetensors"
	[[ $output != *" 0 failed" ]] || fail "$output"
	one_line model.safetensors changed
	still_serving
}

@test "a source that gets a link and other permissions is still served" {
	make_checkpoint plain
	mount_watched
	ln "$model/model.safetensors" "$BATS_TEST_TMPDIR/link"
	chmod 600 "$model/model.safetensors"
	cmp "$mnt/fp16/model.safetensors" "$copy/model.safetensors"
	[[ ! -s $log ]] || fail "$(cat "$log")"
}

@test "a source that is open for writing" {
	exec 9<>"$BATS_TEST_TMPDIR/writable"
	make_checkpoint plain
	mv "$model/model.safetensors" "$BATS_TEST_TMPDIR/kept"
	cat "$BATS_TEST_TMPDIR/kept" >&9
	ln "$BATS_TEST_TMPDIR/writable" "$model/model.safetensors"
	run -0 "$GPTQFS" --check "$model"
	exec 9>&-
	[[ $output = *"Warning: "*"open for writing"* ]] || fail "$output"
	run -0 "$GPTQFS" --check "$model"
	[[ $output != *"open for writing"* ]]
}

@test "a bad shard fails only reads that need it" {
	make_checkpoint sharded
	mount_watched
	truncate -s 5000 "$model/model-00002-of-00003.safetensors"
	run -0 python3 - "$mnt/fp16/model.safetensors" "$copy/model.safetensors" <<'END'
import errno, json, os, struct, sys
copy = open(sys.argv[2], "rb").read()
start = 8 + struct.unpack("<Q", copy[:8])[0]
header = json.loads(copy[8:start])
fd = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECT)
good = bad = 0
for name, entry in header.items():
    if name == "__metadata__":
        continue
    begin, end = entry["data_offsets"]
    try:
        assert os.pread(fd, end - begin, start + begin) == copy[start + begin:start + end], name
        good += 1
    except OSError as e:
        assert e.errno == errno.EIO, e
        bad += 1
assert good and bad, (good, bad)
END
	one_line model-00002-of-00003.safetensors changed
	still_serving
}

@test "another file that changes under the mount" {
	make_checkpoint companions
	mount_watched
	echo "other" >"$model/merges.txt"
	run ! cat "$mnt/fp16/merges.txt"
	[[ $output = *"Input/output error"* ]]
	cmp "$mnt/fp16/model.safetensors" "$copy/model.safetensors"
	one_line merges.txt changed
}

@test "a source whose disk fails" {
	need_root
	make_checkpoint plain
	disk=$BATS_TEST_TMPDIR/disk
	truncate -s 8M "$disk"
	mkfs.ext4 -q -F "$disk" && mkdir "$BATS_TEST_TMPDIR/fs" && mount -o loop "$disk" "$BATS_TEST_TMPDIR/fs" ||
		skip "cannot mount a file as a disk"
	cp -r "$model" "$BATS_TEST_TMPDIR/fs/model"
	model=$BATS_TEST_TMPDIR/fs/model
	mount_watched
	unmount "$mnt"
	# After a new mount, only what opening reads is in memory.
	umount "$BATS_TEST_TMPDIR/fs"
	mount -o loop "$disk" "$BATS_TEST_TMPDIR/fs"
	mount_foreground "$log" "$model" "$mnt"
	truncate -s 0 "$disk"
	run -0 read_or_eio "$mnt/fp16/model.safetensors" "$copy/model.safetensors"
	is_running "$server"
	[[ $(grep -c model.safetensors "$log") -le 1 ]]
}
