#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Adapters merged on read: every tensor has the expected SHA-256, which is PEFT's in float64 on the fp32 view, in all
# three types, read through a mount. And what is refused.

load lib

# adapters NAME[@SCALE]...: finds them, as options in $options.
adapters() {
	local name

	options=()
	for name in "$@"; do
		find_adapter "${name%@*}"
		[[ $name = *@* ]] && adapter=$adapter:${name#*@}
		options+=(-o "lora=$adapter")
	done
}

# merge MODEL+NAME[@SCALE][+NAME[@SCALE]]: mounts and compares it.
merge() {
	local names

	IFS=+ read -ra names <<<"$1"
	find_model "${names[0]}"
	adapters "${names[@]:1}"
	mount_model "${options[@]}" "$source" "$mnt"
	expected=$merged/$1
	compare_views "$mnt"
}

@test "rank 8, F32" { merge tiny-llama-4b-g32-asym+llama-r8; }
@test "act-order" { merge tiny-llama-4b-g32-asym-act+llama-r8; }
@test "3 bits" { merge tiny-llama-3b-g32-asym+llama-r8; }
@test "5 bits" { merge tiny-llama-5b-planar+llama-r8; }
@test "8 bits" { merge tiny-llama-8b-g64-sym+llama-r8; }
@test "a ragged group" { merge tiny-llama-4b-g128-ragged+llama-r8; }
@test "several shards" { merge tiny-llama-4b-g32-shard+llama-r8; }
@test "a bf16 model" { merge tiny-llamabf16-4b-g32-asym+llama-r8; }
@test "factors in BF16" { merge tiny-llama-4b-g32-asym+llama-r16-bf16; }
@test "rank 12, F16, rslora" { merge tiny-llama-4b-g32-asym+llama-r12-f16-rslora; }
@test "rank_pattern and alpha_pattern with regexes that overlap" { merge tiny-llama-4b-g32-asym+llama-patterns; }
@test "modules_to_save: head and norms" { merge tiny-llama-4b-g32-asym+llama-save-head-norms; }
@test "embedding and head" { merge tiny-llama-4b-g32-asym+llama-embed; }
@test "an embedding that is saved and adapted" { merge tiny-llama-4b-g32-asym+llama-embed-saved; }
@test "rows of single tokens" { merge tiny-llama-4b-g32-asym+llama-tokens; }
@test "DoRA" { merge tiny-llama-4b-g32-asym+llama-dora; }
@test "DoRA, act-order" { merge tiny-llama-4b-g32-asym-act+llama-dora; }
@test "names with what FSDP and torch.compile put into them, and the adapter's" { merge tiny-llama-4b-g32-asym+llama-raw-names; }
@test "mlx-lm's layout" { merge tiny-llama-4b-g32-asym+llama-mlx; }
@test "biases that are saved" { merge tiny-qwen2-4b-g64-asym+qwen2-bias-all; }
@test "lora_bias" { merge tiny-qwen2-4b-g64-asym+qwen2-lora-bias; }
@test "the head of a tied model" { merge tiny-qwen2-4b-g64-asym+qwen2-tied-head; }
@test "Phi-3's joined modules" { merge tiny-phi3-4b-g32+phi3-fused; }
@test "experts one by one" { merge tiny-qwen3moe-4b-g32-asym-act+qwen3moe-experts; }
@test "target_parameters on a stack of experts" { merge tiny-qwen3moe-4b-g32-asym-act+qwen3moe-parameters; }
@test "a real model" { merge smollm2-135m-gptq-4bit-g64+smol-r4-bf16; }
@test "a scale" { merge tiny-llama-4b-g32-asym+llama-r8@0.5; }
@test "two adapters, in their order" { merge tiny-llama-4b-g32-asym+llama-r8@0.5+llama-r16-bf16@-2; }
@test "two adapters, one of them on the embedding" { merge tiny-llama-4b-g32-asym+llama-embed+llama-r8; }

# The bytes of an adapter's tensors count once, whatever number of tensors of the model they go to.
counts_once() {
	local file=$1/adapter_model.safetensors base header

	base=$(jq .source_bytes "$mnt/info.json")
	header=$(od -An -tu8 -N8 "$file")
	[[ $(jq .source_bytes "$mnt.merged/info.json") = $((base + $(stat -c %s "$file") - 8 - header)) ]]
}

# merge_family DIRECTORY [matrices]: a made adapter on all matrices, and on all stacks of experts, of a model.
merge_family() {
	mount_model "$1" "$mnt"
	python3 -S "$TESTS/tools/adapter.py" make "$mnt/fp32" "$BATS_TEST_TMPDIR/made" ${2+"$2"}
	mount_model -o "lora=$BATS_TEST_TMPDIR/made" "$1" "$mnt.merged"
	counts_once "$BATS_TEST_TMPDIR/made"
	python3 -S "$TESTS/tools/adapter.py" check "$mnt/fp32" "$mnt.merged/fp32" "$mnt.merged/fp16" "$BATS_TEST_TMPDIR/made"
}

@test "every family of formats, also experts and Conv1D" {
	local name

	for name in f-bnb-gpt2 f-fp8-dsv3-shards awq-gemm-g32 ct-bits-2to7 ct012-actorder-group mlx-3b-g32 mlx-moe-qwen3; do
		find_model "$name"
		merge_family "$source"
		end_below "$BATS_TEST_TMPDIR"
		rm -r "$BATS_TEST_TMPDIR/made"
	done
}

@test "experts of a layer in one tensor of rows" {
	copy_model tiny-qwen2-4b-g64-asym
	python3 - "$model/model.safetensors" <<'END'
import json, random, struct, sys
random.seed(3)
with open(sys.argv[1], "rb") as f:
    size = struct.unpack("<Q", f.read(8))[0]
    header, data = json.loads(f.read(size)), f.read()
for name, shape in ("gate_up_proj", [3, 64, 128]), ("down_proj", [3, 128, 32]):
    n = shape[0] * shape[1] * shape[2]
    header[f"model.layers.0.mlp.experts.{name}"] = {
        "dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + n * 4]}
    data += struct.pack("<%df" % n, *(random.gauss(0, 1) for _ in range(n)))
text = json.dumps(header).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + data)
END
	merge_family "$model"
	[[ $(jq '.adapters[0].modules' "$mnt.merged/info.json") = 16 ]] || fail "$(cat "$mnt.merged/info")"
}

@test "stacks that are transposed are refused, and all else of such a model is merged" {
	find_model f-mxfp4-gptoss
	mount_model "$source" "$mnt"
	python3 -S "$TESTS/tools/adapter.py" make "$mnt/fp32" "$BATS_TEST_TMPDIR/all"
	run -3 "$GPTQFS" --check -o "lora=$BATS_TEST_TMPDIR/all" "$source"
	[[ $output = *"transposed or interleaved"* ]] || fail "$output"
	unmount "$mnt"
	merge_family "$source" matrices
}

@test "the parts of a joined module share the bytes of its factors" {
	find_model tiny-phi3-4b-g32
	adapters phi3-fused
	mount_model "$source" "$mnt"
	mount_model "${options[@]}" "$source" "$mnt.merged"
	counts_once "$adapter"
}

@test "no combination is forgotten here" {
	for file in "$TESTS"/data/lora/expected/*.F16.json "$ROOT"/../shared/lora/expected/*.F16.json; do
		[[ ! -e $file ]] || grep -qF " merge $(basename "$file" .F16.json); }" "$BATS_TEST_FILENAME" || fail "no test for $file"
	done
}

@test "every level of the CPU gives the same" {
	for GPTQFS_CPU in c ssse3 avx2; do
		export GPTQFS_CPU
		"$GPTQFS" --check "$TESTS/data/models/tiny-phi3-4b-g32" >/dev/null || continue # not on this machine
		merge tiny-phi3-4b-g32+phi3-fused
		unmount "$mnt"
	done
}

@test "config.json says that an untied model is" {
	merge tiny-qwen2-4b-g64-asym+qwen2-tied-head
	for view in fp16 bf16 fp32 fused/bf16; do
		[[ $(jq .tie_word_embeddings "$mnt/$view/config.json") = false ]] || fail "$view"
	done
	unmount "$mnt"
	adapters qwen2-bias-all
	mount_model "${options[@]}" "$source" "$mnt"
	[[ $(jq .tie_word_embeddings "$mnt/fp16/config.json") = true ]]
}

@test "fused views join what was merged" {
	find_model tiny-qwen2-4b-g64-asym
	adapters qwen2-lora-bias
	mount_model "${options[@]}" "$source" "$mnt"
	expected=$merged/tiny-qwen2-4b-g64-asym+qwen2-lora-bias
	compare_fused "$mnt"
}

# made_adapters MODEL_DIR: adapters on its embedding and head (tools/tied_adapters.py), in $made.
made_adapters() {
	made=$BATS_TEST_TMPDIR/adapters
	"$GPTQFS" --cat=fp32/model.safetensors "$1" >"$BATS_TEST_TMPDIR/base"
	python3 -S "$TESTS/tools/tied_adapters.py" make "$BATS_TEST_TMPDIR/base" "$made"
}

# adds ADAPTER MODEL_DIR TENSOR=WHAT...: checks what the merge with one of them is.
adds() {
	"$GPTQFS" --cat=fp32/model.safetensors -o "lora=$made/$1" "$2" >"$BATS_TEST_TMPDIR/merged"
	python3 -S "$TESTS/tools/tied_adapters.py" check "$BATS_TEST_TMPDIR/base" "$BATS_TEST_TMPDIR/merged" "${@:3}"
}

@test "an embedding and its head are trained as one, or each by itself" {
	local embedding=model.embed_tokens.weight head=lm_head.weight

	find_model tiny-qwen2-4b-g64-asym
	made_adapters "$source"
	adds embedding "$source" $embedding=sum $head=base
	adds head "$source" $embedding=base $head=sum
	adds both "$source" $embedding=sum $head=none
	adds mlx "$source" $embedding=sum $head=none
	adds tokens "$source" $embedding=base $head=rows
	adds saved "$source" $embedding=more $head=none
	adds resized "$source" $embedding=longer $head=none
	[[ $("$GPTQFS" --cat=fp16/config.json -o "lora=$made/resized" "$source" | jq .vocab_size) = 257 ]]
	run -3 "$GPTQFS" --check -o "lora=$made/unlike" "$source"
	[[ $output = *"embedding and head have pairs that differ"* ]] || fail "$output"
}

@test "an embedding that is quantized as it is, and tied" {
	find_model mlx-6b-g64-tied
	made_adapters "$source"
	adds embedding "$source" model.embed_tokens.weight=sum lm_head.weight=base
	adds mlx "$source" model.embed_tokens.weight=sum lm_head.weight=none
}

@test "a model whose class ties the head without a word in config.json" {
	local embedding=model.embed_tokens.weight head=lm_head.weight

	copy_model tiny-qwen2-4b-g64-asym
	jq 'del(.tie_word_embeddings) | .text_config = {"vocab_size": .vocab_size}' "$model/config.json" >"$BATS_TEST_TMPDIR/config"
	cp "$BATS_TEST_TMPDIR/config" "$model/config.json"
	made_adapters "$model"
	adds embedding "$model" $embedding=sum $head=base
	adds head "$model" $embedding=base $head=sum
	adds both "$model" $embedding=sum $head=none
	"$GPTQFS" --cat=fp16/config.json -o "lora=$made/head" "$model" >"$BATS_TEST_TMPDIR/config"
	[[ $(jq -c '[.tie_word_embeddings, .text_config.tie_word_embeddings]' "$BATS_TEST_TMPDIR/config") = '[false,false]' ]]
	"$GPTQFS" --cat=fp16/config.json -o "lora=$made/both" "$model" >"$BATS_TEST_TMPDIR/config"
	[[ $(jq -c '[.tie_word_embeddings, .text_config.tie_word_embeddings]' "$BATS_TEST_TMPDIR/config") = '[null,null]' ]]
	# A model without a head has none with an adapter either.
	jq '.architectures = ["Qwen2Model"]' "$model/config.json" >"$BATS_TEST_TMPDIR/config"
	cp "$BATS_TEST_TMPDIR/config" "$model/config.json"
	adds embedding "$model" $embedding=sum $head=none
}

@test "gguf: the head of a Gemma that an adapter unties" {
	find_model gemma3
	made_adapters "$source"
	"$GPTQFS" --cat=gguf/gemma3.gguf "$source" | head -c 65536 | run -1 grep -qaP '\x0doutput\.weight' -
	"$GPTQFS" --cat=gguf/gemma3.gguf -o "lora=$made/head" "$source" | head -c 65536 | grep -qaP '\x0d\x00{7}output\.weight' -
	find_model gemma2
	"$GPTQFS" --cat=gguf/README -o "lora=$made/both" "$source" | grep -q 'The model in one file'
	"$GPTQFS" --cat=gguf/README -o "lora=$made/head" "$source" | grep -q 'lm_head.weight is not the embedding'
}

@test "a head in the file that the class ties without a word" {
	copy_model gemma2
	edit_model <<'END'
tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
END
	made_adapters "$model"
	adds embedding "$model" model.embed_tokens.weight=sum lm_head.weight=base
	adds head "$model" model.embed_tokens.weight=base lm_head.weight=sum
	"$GPTQFS" --cat=fp16/config.json -o "lora=$made/head" "$model" >"$BATS_TEST_TMPDIR/config"
	[[ $(jq .tie_word_embeddings "$BATS_TEST_TMPDIR/config") = false ]]
	# mlx-lm's class has no place for it.
	"$GPTQFS" --cat=mlx/model.safetensors "$model" >"$BATS_TEST_TMPDIR/mlx"
	grep -qaF '"model.embed_tokens.weight"' "$BATS_TEST_TMPDIR/mlx"
	run -1 grep -qaF '"lm_head.weight"' "$BATS_TEST_TMPDIR/mlx"
}

@test "target_parameters on experts that the class spells otherwise" {
	find_model mixtral
	made_adapters "$source"
	adds experts "$source" experts
}

@test "any piece of a file is the same piece" {
	find_model tiny-qwen2-4b-g64-asym
	for name in qwen2-lora-bias qwen2-tied-head; do
		adapters "$name"
		mount_model "${options[@]}" "$source" "$mnt"
		cp "$mnt/bf16/model.safetensors" "$BATS_TEST_TMPDIR/copy"
		"$HAMMER" "$mnt/bf16/model.safetensors" "$BATS_TEST_TMPDIR/copy"
		unmount "$mnt"
	done
}

@test "pieces of rows with DoRA, which are computed whole" {
	find_model tiny-llama-4b-g32-asym-act
	adapters llama-dora
	mount_model "${options[@]}" "$source" "$mnt"
	cp "$mnt/fp16/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	"$HAMMER" "$mnt/fp16/model.safetensors" "$BATS_TEST_TMPDIR/copy"
}

@test "there is no packed view, and asking for it is exit 1" {
	find_model tiny-qwen2-4b-g64-asym
	adapters qwen2-lora-bias
	mount_model "${options[@]}" "$source" "$mnt"
	[[ ! -e $mnt/packed ]]
	grep -q '^Packed_view: *- (packed weights cannot carry an adapter)' "$mnt/info" || fail "$(cat "$mnt/info")"
	mkdir "$BATS_TEST_TMPDIR/other"
	run -1 "$GPTQFS" -o view=packed "${options[@]}" "$source" "$BATS_TEST_TMPDIR/other"
	[[ $output = *packed* ]] || fail "$output"
}

@test "paths with commas, both spellings of the option, several in one -o" {
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-tied-head
	cp -r "$adapter" "$BATS_TEST_TMPDIR/a,b"
	expected=$merged/tiny-qwen2-4b-g64-asym+qwen2-tied-head
	mount_model -o "lora=$BATS_TEST_TMPDIR/a\\,b:1,view=fp16" "$source" "$mnt"
	compare_view "$mnt" F16
	unmount "$mnt"
	mount_model --lora="$BATS_TEST_TMPDIR/a,b" -o view=bf16 "$source" "$mnt"
	compare_view "$mnt" BF16
	unmount "$mnt"
	# Once more and less of the same is, but for roundings of the sum, the model alone.
	find_adapter qwen2-bias-all
	mount_model -o "lora=$adapter:3,lora=$adapter:-3" "$source" "$mnt"
	[[ $(jq -c '[.adapters[].scale]' "$mnt/info.json") = "[3,-3]" ]]
}

@test "a directory whose name ends like a scale" {
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-tied-head
	cp -r "$adapter" "$BATS_TEST_TMPDIR/a:2"
	expected=$merged/tiny-qwen2-4b-g64-asym+qwen2-tied-head
	mount_model -o "lora=$BATS_TEST_TMPDIR/a:2:1,view=fp32" "$source" "$mnt"
	compare_view "$mnt" F32
}

@test "scales that are none" {
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-tied-head
	for scale in inf -inf nan 1e999; do
		run -1 "$GPTQFS" --check -o "lora=$adapter:$scale" "$source"
		[[ $output = *"scale is not finite"* ]] || fail "$output"
	done
	run -1 "$GPTQFS" --check -o lora= "$source"
	run -3 "$GPTQFS" --check -o "lora=$BATS_TEST_TMPDIR/nowhere" "$source"
	[[ $output = *nowhere* ]] || fail "$output"
}

# With transformers 4.52 Qwen2-VL got model.language_model.layers and model.visual.blocks; files kept the older names.
@test "an adapter with other prefixes of two parts" {
	copy_model tiny-qwen2-4b-g64-asym
	edit_model <<'END'
for k in "attn.qkv", "mlp.fc1":
    tensors[f"visual.blocks.0.{k}.weight"] = ["F32", [2, 2], ints("<4f", 1, 2, 3, 4)]
END
	mkdir "$BATS_TEST_TMPDIR/a"
	python3 - "$BATS_TEST_TMPDIR/a" <<'END'
import json, struct, sys
header, data = {}, b""
for module, (o, i) in {"language_model.layers.0.self_attn.q_proj": (128, 128), "visual.blocks.0.attn.qkv": (2, 2)}.items():
    for part, shape in ("A", [1, i]), ("B", [o, 1]):
        header[f"base_model.model.model.{module}.lora_{part}.weight"] = {
            "dtype": "F32", "shape": shape, "data_offsets": [len(data), len(data) + 4 * shape[0] * shape[1]]}
        data += struct.pack("<f", 0.5) * (shape[0] * shape[1])
text = json.dumps(header).encode()
open(sys.argv[1] + "/adapter_model.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + data)
json.dump({"peft_type": "LORA", "r": 1, "lora_alpha": 4}, open(sys.argv[1] + "/adapter_config.json", "w"))
END
	"$GPTQFS" --cat=info -o "lora=$BATS_TEST_TMPDIR/a" "$model" >"$BATS_TEST_TMPDIR/info"
	grep -q '^Adapter_renamed: *model.language_model. as model., model.visual. as visual.$' "$BATS_TEST_TMPDIR/info" ||
		fail "$(cat "$BATS_TEST_TMPDIR/info")"
	"$GPTQFS" --cat=tensors/visual/blocks/0/attn/qkv.npy -o "lora=$BATS_TEST_TMPDIR/a,dtype=fp32" "$model" | tail -c 16 >"$BATS_TEST_TMPDIR/sum"
	[[ $(od -An -tf4 "$BATS_TEST_TMPDIR/sum" | xargs) = "2 3 4 5" ]] || fail "$(od -tf4 "$BATS_TEST_TMPDIR/sum")"
}

@test "an adapter with another spelling of the prefix" {
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-bias-all
	cp -r "$adapter" "$BATS_TEST_TMPDIR/a"
	python3 - "$BATS_TEST_TMPDIR/a/adapter_model.safetensors" <<'END'
import struct, sys
with open(sys.argv[1], "rb") as f:
    size = struct.unpack("<Q", f.read(8))[0]
    header, data = f.read(size), f.read()
header = header.replace(b"base_model.model.model.layers.", b"base_model.model.language_model.decoder.layers.")
open(sys.argv[1], "wb").write(struct.pack("<Q", len(header)) + header + data)
END
	mount_model -o "lora=$BATS_TEST_TMPDIR/a" "$source" "$mnt"
	expected=$merged/tiny-qwen2-4b-g64-asym+qwen2-bias-all
	compare_views "$mnt"
	grep -q '^Adapter_renamed: *language_model.decoder. as model.$' "$mnt/info" || fail "$(cat "$mnt/info")"
}

@test "a PEFT adapter that names mlx-lm's key too has PEFT's scale" {
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-tied-head
	cp -r "$adapter" "$BATS_TEST_TMPDIR/a"
	jq '.fine_tune_type = "lora" | .lora_parameters.scale = 20' "$adapter/adapter_config.json" >"$BATS_TEST_TMPDIR/a/adapter_config.json"
	expected=$merged/tiny-qwen2-4b-g64-asym+qwen2-tied-head
	mount_model -o "lora=$BATS_TEST_TMPDIR/a,view=fp16" "$source" "$mnt"
	compare_view "$mnt" F16
}

@test "the adapter's tokenizer takes the place of the model's" {
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-tied-head
	cp -r "$adapter" "$BATS_TEST_TMPDIR/a"
	echo '{"mine": true}' >"$BATS_TEST_TMPDIR/a/tokenizer.json"
	echo '{}' >"$BATS_TEST_TMPDIR/a/training_args.json"
	mount_model -o "lora=$BATS_TEST_TMPDIR/a" "$source" "$mnt"
	cmp "$BATS_TEST_TMPDIR/a/tokenizer.json" "$mnt/fp16/tokenizer.json"
	[[ ! -e $mnt/fp16/tokenizer_config.json && ! -e $mnt/fp16/training_args.json && -e $mnt/fp16/generation_config.json ]]
	unmount "$mnt"
	mount_model -o "lora=$BATS_TEST_TMPDIR/a,lora_tokenizer=base" "$source" "$mnt"
	cmp "$source/tokenizer.json" "$mnt/fp16/tokenizer.json"
	mkdir "$BATS_TEST_TMPDIR/other"
	run -1 "$GPTQFS" -o lora_tokenizer=mine "$source" "$BATS_TEST_TMPDIR/other"
}

@test "info, info.json, .info and --check tell of adapters" {
	find_model tiny-qwen2-4b-g64-asym
	adapters qwen2-lora-bias@0.5
	mount_model "${options[@]}" "$source" "$mnt"
	grep -qx 'Adapter_base: *tiny-qwen2-4b-g64-asym (as the adapter names it)' "$mnt/info"
	grep -qx 'Adapter_modules: *6 (rank 4)' "$mnt/info"
	jq -e '.adapters[0] | .scale == 0.5 and .modules == 6 and .rank_most == 4 and .format == "PEFT"' "$mnt/info.json"
	info=$mnt/tensors/model/layers/0/self_attn/v_proj.info
	head -1 "$info" | grep -q 'with an adapter merged'
	grep -qx 'Adapter_rank: *4, times 0.75' "$info"
	grep -q '^Adapter_file: */.*/qwen2-lora-bias/adapter_model.safetensors$' "$info"
	run -0 "$GPTQFS" --check "${options[@]}" "$source"
	[[ $output = *"Merged_overflow:    0"* ]] || fail "$output"
}

@test "a rank that adapter_config.json does not tell is a warning" {
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-tied-head
	cp -r "$adapter" "$BATS_TEST_TMPDIR/a"
	jq '.r = 16' "$adapter/adapter_config.json" >"$BATS_TEST_TMPDIR/a/adapter_config.json"
	run -0 "$GPTQFS" --check -o "lora=$BATS_TEST_TMPDIR/a" "$source"
	[[ $output = *"3 modules have a rank other than r"* ]] || fail "$output"
	run -0 "$GPTQFS" --check -o "lora=$adapter" "$source"
	[[ $output != *"a rank other than r"* ]] || fail "$output"
}

@test "an adapter that is changed under the mount gives EIO" {
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-lora-bias
	cp -r "$adapter" "$BATS_TEST_TMPDIR/a"
	mount_model -o "lora=$BATS_TEST_TMPDIR/a,view=fp16" "$source" "$mnt"
	truncate -s 1000 "$BATS_TEST_TMPDIR/a/adapter_model.safetensors"
	run -1 cat "$mnt/model.safetensors"
	[[ $output = *"Input/output error"* ]] || fail "$output"
}

@test "DoRA does not go with a second adapter on one tensor" {
	find_model tiny-llama-4b-g32-asym-act
	adapters llama-dora llama-r8
	run -3 "$GPTQFS" --check "${options[@]}" "$source"
	[[ $output = *"DoRA does not go with a second adapter"* ]] || fail "$output"
}

@test "a head that an adapter before changed together with the embedding is not replaced" {
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-tied-head
	cp -r "$adapter" "$BATS_TEST_TMPDIR/both"
	jq '.ensure_weight_tying = true' "$adapter/adapter_config.json" >"$BATS_TEST_TMPDIR/both/adapter_config.json"
	cp -r "$adapter" "$BATS_TEST_TMPDIR/head"
	python3 - "$BATS_TEST_TMPDIR/head/adapter_model.safetensors" <<'END'
import json, struct, sys
text = json.dumps({"base_model.model.lm_head.weight": {
    "dtype": "F32", "shape": [256, 128], "data_offsets": [0, 256 * 128 * 4]}}).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(text)) + text + bytes(256 * 128 * 4))
END
	run -0 "$GPTQFS" --check -o "lora=$BATS_TEST_TMPDIR/both" "$source"
	run -0 "$GPTQFS" --check -o "lora=$BATS_TEST_TMPDIR/head" "$source"
	run -3 "$GPTQFS" --check -o "lora=$BATS_TEST_TMPDIR/both,lora=$BATS_TEST_TMPDIR/head" "$source"
	[[ $output = *"lm_head.weight"*"an earlier adapter changed embedding and head together"* ]] || fail "$output"
}

@test "faulty adapters are refused, each by what is wrong" {
	find_model tiny-qwen2-4b-g64-asym
	find_adapter qwen2-tied-head
	python3 -S "$TESTS/tools/bad_adapters.py" "$adapter" "$BATS_TEST_TMPDIR/bad" >"$BATS_TEST_TMPDIR/faults"
	while IFS=$'\t' read -r name says; do
		run -3 "$GPTQFS" --check -o "lora=$BATS_TEST_TMPDIR/bad/$name" "$source"
		[[ $output = *"$says"* ]] || fail "$name: $output"
	done <"$BATS_TEST_TMPDIR/faults"
}

@test "loras= shows one adapter at a time, beside the model as it is" {
	find_model tiny-qwen2-4b-g64-asym
	base=$expected
	mkdir "$BATS_TEST_TMPDIR/all" "$BATS_TEST_TMPDIR/all/not one"
	for name in qwen2-tied-head qwen2-lora-bias phi3-fused; do
		find_adapter "$name"
		ln -s "$adapter" "$BATS_TEST_TMPDIR/all/$name"
	done
	mount_model -o "loras=$BATS_TEST_TMPDIR/all" "$source" "$mnt"
	expected=$base
	compare_views "$mnt"
	[[ -d $mnt/packed && $(ls "$mnt/lora" | tr '\n' ' ') = "phi3-fused qwen2-lora-bias qwen2-tied-head " ]] || fail "$(ls "$mnt/lora")"
	for name in qwen2-tied-head qwen2-lora-bias; do
		expected=$merged/tiny-qwen2-4b-g64-asym+$name
		compare_views "$mnt/lora/$name"
	done
	[[ $(jq .tie_word_embeddings "$mnt"/{,lora/qwen2-lora-bias/,lora/qwen2-tied-head/}fp16/config.json | tr '\n' ' ') = "true true false " ]]
	[[ $(ls "$mnt/lora/phi3-fused") = REFUSED ]]
	grep -q "is it an adapter for another model" "$mnt/lora/phi3-fused/REFUSED" || fail "$(cat "$mnt/lora/phi3-fused/REFUSED")"
	[[ $(getfattr --only-values -n user.gptqfs.view "$mnt/lora/qwen2-tied-head/fused/bf16/model.safetensors") = fused/bf16 ]]
	jq -e '[.variants[] | .name + (if .refusal then "!" else "" end)] == ["phi3-fused!", "qwen2-lora-bias", "qwen2-tied-head"]' \
		"$mnt/info.json"
	grep -q '^lora ' "$mnt/README"
	unmount "$mnt"
	mount_model -o "loras=$BATS_TEST_TMPDIR/all,view=lora/qwen2-tied-head/bf16" "$source" "$mnt"
	expected=$merged/tiny-qwen2-4b-g64-asym+qwen2-tied-head
	compare_view "$mnt" BF16
	unmount "$mnt"
	run -3 "$GPTQFS" -o "loras=$BATS_TEST_TMPDIR/all,view=lora/phi3-fused/bf16" "$source" "$mnt"
	run -1 "$GPTQFS" -o "loras=$BATS_TEST_TMPDIR/all,view=lora/none/bf16" "$source" "$mnt"
	run -1 "$GPTQFS" -o "loras=$BATS_TEST_TMPDIR/all,view=lora/qwen2-tied-head/packed" "$source" "$mnt"
	run -1 "$GPTQFS" -o "loras=$BATS_TEST_TMPDIR/all,lora=$adapter" "$source" "$mnt"
	run -3 "$GPTQFS" -o "loras=$BATS_TEST_TMPDIR/all/not one" "$source" "$mnt"
	[[ $output = *"none of its directories"* ]] || fail "$output"
}
