#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Opening a directory: which files count, missing and misleading files, and where links may lead.

load lib

# refused CODE KIND WORD...: this checkpoint is refused within ten seconds, with one line that has all the words.
refused() {
	local code=$1 word

	make_checkpoint "$2"
	shift 2
	run "-$code" --separate-stderr timeout 10 "$GPTQFS" --check "$model"
	[[ -z $output && ${#stderr_lines[@]} = 1 && $stderr = "gptqfs: "* ]] || fail "$stderr"
	for word; do
		[[ $stderr = *"$word"* ]] || fail "\"$word\" is not in: $stderr"
	done
}

# served KIND: all values are right. $mnt is mounted.
served() {
	make_checkpoint "$1"
	mount_model -o "view=fp16${2:+,$2}" "$model" "$mnt"
	compare_view "$mnt" F16
}

# warned WORD...: --check has a warning with all the words.
warned() {
	local word warnings

	warnings=$("$GPTQFS" --check "$model" | grep "^Warning: ")
	for word; do
		[[ $warnings = *"$word"* ]] || fail "\"$word\" is not in: $warnings"
	done
}

# ---- shards ----

@test "tensors that a listed shard holds and the index does not list" {
	served unlisted
	warned stray.weight "not listed" "2 tensors"
}

@test "file names of the index with ./ in front" { served dot_slash; }
@test "numbered shards without an index" { served numbered; }
@test "shards numbered from zero" { served numbered_from_zero; }
@test "the first numbered shard is missing" { refused 3 missing_first model-00001-of-00003.safetensors missing fetch; }
@test "a numbered shard is missing" { refused 3 missing_middle model-00002-of-00003.safetensors missing fetch; }
@test "the last numbered shard is missing" { refused 3 missing_last model-00003-of-00003.safetensors missing fetch; }

@test "the last shard of those numbered from zero is missing" {
	refused 3 missing_last_from_zero model-00002-of-00003.safetensors missing fetch
}

# ---- what passes ----

@test "weights that are parts of the model pass, other copies of it are hidden and named" {
	make_checkpoint parts
	mount_model "$model" "$mnt"
	compare_views "$mnt"
	for name in mtp.safetensors 2_Dense/model.safetensors speech-lora/adapter_model.safetensors \
		speech-lora/adapter_config.json spk_dict.pt broken.safetensors; do
		cmp "$mnt/fp16/$name" "$model/$name"
		cmp "$mnt/packed/$name" "$model/$name"
	done
	for name in dense.safetensors old.safetensors adapter_model.safetensors pytorch_model.bin \
		model.safetensors.index.json model-00001-of-00003.safetensors; do
		[[ ! -e $mnt/fp16/$name ]] || fail "$name"
	done
	diff - <(grep "^Hidden" "$mnt/info" | tr -s " " | cut -d"(" -f1) <<'END'
Hidden: 4 
Hidden_file: adapter_model.safetensors
Hidden_file: dense.safetensors
Hidden_file: old.safetensors
Hidden_file: pytorch_model.bin
END
	[[ $(jq -r '.hidden[]' "$mnt/info.json" | tr '\n' ' ') = \
		"adapter_model.safetensors dense.safetensors old.safetensors pytorch_model.bin " ]]
}

# ---- not what they seem ----

@test "an HTML page as weights" { refused 3 html_weights model.safetensors "HTML page" fetch; }
@test "an HTML page as config.json" { refused 3 html_config config.json "HTML page" fetch; }
@test "a pickle under the name of safetensors" { refused 3 pickle_weights model.safetensors pickle convert; }
@test "a FIFO as config.json" { refused 3 fifo_config config.json "not a regular file" replace; }
@test "a FIFO as quantize_config.json" { refused 3 fifo_quant_config quantize_config.json "not a regular file"; }
@test "a FIFO as weights" { refused 3 fifo_weights model.safetensors "not a regular file"; }
@test "a FIFO as index" { refused 3 fifo_index model.safetensors.index.json "not a regular file"; }
@test "a link to a device as config.json" { refused 3 device_config config.json "not a regular file"; }

@test "a FIFO as tokenizer.json" {
	served fifo_companion
	warned tokenizer.json "not a regular file"
}

@test "a link to a device as tokenizer.json" {
	served device_companion
	warned tokenizer.json "not a regular file"
}

@test "directories that are called like files of a view" {
	make_checkpoint taken_names
	mount_model "$model" "$mnt"
	compare_views "$mnt"
	for view in fp16 fused/bf16 packed; do
		[[ -f $mnt/$view/model.safetensors && -f $mnt/$view/quantize_config.json.d/kept.md ]]
		[[ -z $(ls "$mnt/$view" | uniq -d) ]]
	done
	run -0 grep -c "^Warning: .*model.safetensors/x.md" "$mnt/info"
	[[ $output = 1 ]]
}

@test "a path longer than a message" {
	make_checkpoint html_weights
	long=$BATS_TEST_TMPDIR
	for i in 1 2 3 4 5 6 7 8 9 10 11; do
		long=$long/$(printf 'd%.0s' {1..250})
	done
	mkdir -p "$long"
	mv "$model" "$long/model"
	run -3 --separate-stderr "$GPTQFS" --check "$long/model"
	[[ $stderr = *"model.safetensors: an HTML page"* ]] || fail "$stderr"
	rm "$long/model/model.safetensors"
	run -2 --separate-stderr "$GPTQFS" --check "$long/model"
	[[ $stderr = *"no *.safetensors here"* ]] || fail "$stderr"
	run -2 --separate-stderr "$GPTQFS" --check "$long/none"
	[[ $stderr = *"no such directory"* ]] || fail "$stderr"
}

# ---- cache entries ----

@test "cache entry whose snapshot is a link" {
	refused 2 hf_cache_linked_snapshot "symbolic link" "-o follow_symlinks"
	expected=$(dirname "$model")/elsewhere
	mount_model -o view=fp16,follow_symlinks "$model" "$mnt"
	compare_view "$mnt" F16
}

@test "cache entry whose snapshots are a link" {
	refused 2 hf_cache_linked_snapshots "symbolic link" "-o follow_symlinks"
	mount_model -o view=fp16,follow_symlinks "$model" "$mnt"
	compare_view "$mnt" F16
}

@test "cache entry whose refs/main is a link" { refused 2 hf_cache_linked_ref refs/main "symbolic link"; }

@test "cache entry whose blobs are a link" {
	refused 3 hf_cache_linked_blobs "symbolic link" "leads out" "-o follow_symlinks"
	mount_model -o view=fp16,follow_symlinks "$model" "$mnt"
	compare_view "$mnt" F16
}

@test "cache entry whose refs/main is a FIFO" { refused 2 hf_cache_fifo_ref refs/main; }

@test "--check --blobs" {
	make_checkpoint hf_cache
	entry=$(ls "$model/blobs" | wc -l)
	run -0 "$GPTQFS" --check --blobs "$model"
	[[ $output = *$'\n'"Blobs: "*" $entry of $entry match their names"$'\n'* ]] || fail "$output"
	run -0 "$GPTQFS" --check "$model"
	[[ $output != *Blobs* ]]
	# One byte of the weights, which no other check can see; and one of a small file.
	for file in model.safetensors tokenizer.json; do
		blob=$(realpath "$model"/snapshots/*/$file)
		cp "$blob" "$BATS_TEST_TMPDIR/kept"
		printf '\1' | dd of="$blob" bs=1 seek=$(($(stat -c %s "$blob") - 2)) conv=notrunc status=none
		run -0 "$GPTQFS" --check "$model"
		run -3 --separate-stderr "$GPTQFS" --check --blobs "$model"
		[[ $output = *"Blobs: "*" $((entry - 1)) of $entry match their names; DAMAGED"* ]] || fail "$output"
		[[ $stderr = "gptqfs: $file: its blob does not match its name"*"fetch it again" ]] || fail "$stderr"
		run -3 --separate-stderr "$GPTQFS" --check --blobs --json "$model"
		[[ $(jq -r .damaged_blob <<<"$output") = "$file" ]]
		cp "$BATS_TEST_TMPDIR/kept" "$blob"
	done
	run -0 "$GPTQFS" --check --blobs "$model"/snapshots/*
	[[ $output = *" $entry of $entry "* ]]
}

@test "--check --blobs of a directory that is not a cache entry" {
	make_checkpoint plain
	run -0 "$GPTQFS" --check --blobs "$model"
	[[ $output = *$'\n'"Blobs: "*none* ]] || fail "$output"
}

# ---- a source without shared maps ----

@test "a source on a file system that refuses shared maps" {
	make_checkpoint fusable
	mkdir "$BATS_TEST_TMPDIR/source"
	mount_model -o view=packed,direct_io "$model" "$BATS_TEST_TMPDIR/source"
	run ! python3 -c 'import mmap, sys; f = open(sys.argv[1], "rb"); mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)' \
		"$BATS_TEST_TMPDIR/source/model.safetensors"
	mount_model -o view=fused/fp16 "$BATS_TEST_TMPDIR/source" "$mnt"
	mount_model -o view=fused/fp16 "$model" "$BATS_TEST_TMPDIR/direct"
	cmp "$mnt/model.safetensors" "$BATS_TEST_TMPDIR/direct/model.safetensors"
}
