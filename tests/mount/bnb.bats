#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# bitsandbytes checkpoints: every tensor has the expected SHA-256 in all three types, read through a mount.

load lib

# real NAME: a checkpoint made by transformers and bitsandbytes.
real() {
	find_model "$1"
	mount_model "$source" "$mnt"
	compare_views "$mnt"
}

@test "nf4, double-quantized: blocks run over the ends of rows, and the last one is short" { real f-bnb-nf4-dq; }
@test "nf4: packed bytes declared as BF16" { real f-bnb-nf4-storage; }
@test "int8" { real f-bnb-int8; }
@test "nf4: modules that were left out, biases" { real f-bnb-skip; }
@test "nf4: Conv1D" { real f-bnb-gpt2; }

@test "the plain C code gives the same" {
	GPTQFS_CPU=c real f-bnb-gpt2
}

@test "all bitsandbytes checkpoints are tested here" {
	for dir in "$TESTS"/data/float/models/f-bnb-*/ "$ROOT"/../shared/float/models/f-bnb-*/; do
		[[ ! -d $dir ]] || grep -q " $(basename "$dir"); }\$" "$BATS_TEST_FILENAME" || fail "no test for $dir"
	done
}

# made KIND: a synthetic one.
made() {
	make_checkpoint "$1"
	mount_model "$model" "$mnt"
	compare_views "$mnt"
}

@test "made here: rows that begin inside a byte, both tables, all types of storage" { made bnb_odd; }
@test "made here: 4 and 8 bits in one model" { made bnb_both; }
@test "made here: Conv1D in 4 and 8 bits, square ones among them" { made bnb_conv1d; }
@test "made here: experts in one parameter" { made bnb_experts_3d; }
@test "made here: gpt-oss in unsloth's layout" { made bnb_gpt_oss; }

@test "a stored table that differs from that of its type is reported" {
	made bnb_other_map
	grep -q 'quant_map is not the table of its quant_type' "$mnt/info" || fail "$(cat "$mnt/info")"
}

@test "info and the files of one module describe it" {
	find_model f-bnb-gpt2
	mount_model "$source" "$mnt"
	grep -qx 'Format: *bnb-nf4' "$mnt/info" || fail "$(cat "$mnt/info")"
	jq -e '.modules[0] | .format == "bnb-nf4" and .bits == 4 and .block_size == 64 and .double_quantized == false and
		.in_features == 128 and .out_features == 384' "$mnt/info.json"
	[[ ! -e $mnt/packed ]]
	head -1 "$mnt/tensors/transformer/h/0/attn/c_attn.info" |
		grep -q 'bitsandbytes nf4, a F32 scale for each 64 weights, \[128, 384\]' ||
		fail "$(cat "$mnt/tensors/transformer/h/0/attn/c_attn.info")"
	[[ $(jq 'has("quantization_config")' "$mnt/bf16/config.json") = false ]]
}

# ---- damage ----

# refused KIND WORD...: a mount ends with code 3 and a line that has all the words.
refused() {
	local word

	make_checkpoint "$1"
	mkdir -p "$mnt"
	shift
	run -3 "$GPTQFS" "$model" "$mnt"
	for word; do
		[[ $output = *"$word"* ]] || fail "\"$word\" is not in: $output"
	done
}

Q=model.layers.0.self_attn.q_proj

@test "a quant_state that is not JSON, or too long, or too deep" {
	refused bnb_no_json model.safetensors $Q.weight.quant_state.bitsandbytes__nf4
	refused bnb_long_json $Q.weight.quant_state "at most 4096 bytes"
	refused bnb_deep_json $Q.weight.quant_state
	refused bnb_key_twice $Q.weight.quant_state
	refused bnb_array $Q.weight.quant_state quant_type
	refused bnb_other_type $Q.weight.quant_state quant_type
}

@test "invalid block sizes" {
	for kind in bnb_block_63 bnb_block_0 bnb_block_huge bnb_block_text; do
		refused $kind $Q.weight.quant_state blocksize "power of two"
	done
}

@test "invalid shapes, or shapes that do not fit the weight" {
	for kind in bnb_no_shape bnb_shape_1d bnb_shape_negative bnb_shape_zero bnb_shape_overflow; do
		refused $kind $Q.weight.quant_state '"shape"'
	done
	refused bnb_shape_huge $Q.weight "U8 [2048, 1]" "4503599627370496 bytes"
	refused bnb_shape_other $Q.weight "U8 [2048, 1]" "2016 bytes"
	refused bnb_short_weight $Q.weight "U8 [2047, 1]" "2048 bytes"
}

@test "double quantization with a part that is missing or odd" {
	refused bnb_nested_offset $Q.weight.quant_state nested_offset
	refused bnb_nested_dtype $Q.weight.quant_state nested_dtype
	refused bnb_nested_block $Q.weight.quant_state nested_blocksize
	refused bnb_no_nested_map $Q.weight.absmax nested_quant_map
	refused bnb_short_nested_map $Q.weight.nested_quant_map "F32 [256]"
	refused bnb_long_nested $Q.weight.nested_absmax
}

@test "parts that are missing or of another type or length" {
	refused bnb_no_weight $Q.weight.quant_state "is not"
	refused bnb_no_absmax $Q.weight.absmax "is not"
	refused bnb_short_absmax $Q.weight.absmax "U8 [63]"
	refused bnb_half_absmax $Q.weight.absmax "F16 [64]"
	refused bnb_short_map $Q.weight.quant_map "F32 [16]"
	refused bnb_unknown_type __af4 "not supported"
}

@test "int8: tiles of a GPU, scales that do not fit" {
	refused bnb_tiles mlp.up_proj.weight_format "is 2" "not supported"
	refused bnb_scb_short mlp.up_proj.SCB "F32 [7]"
	refused bnb_scb_half mlp.up_proj.SCB "F16 [8]"
	refused bnb_scb_lost SCB_of_none.weight "I8 like" "no scale"
	refused bnb_scb_of_floats mlp.up_proj.weight "F16 [8, 8]" I8
}
