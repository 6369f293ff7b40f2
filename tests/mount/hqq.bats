#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# HQQ checkpoints: every tensor has the expected SHA-256 in all three types, read through a mount.

load lib

Q=model.layers.0.self_attn.q_proj

# real NAME: a checkpoint made by a real quantizer.
real() {
	find_model "$1"
	mount_model "$source" "$mnt"
	compare_views "$mnt"
	compare_fused "$mnt"
}

# refused EDIT WORD...: exit 3 with all the words, after a piece of Python changed the tensors `t`, of which those of the
# module q are t[q + ".axis"] and so on.
refused() {
	local word

	copy_model hqq-2b-g16-axis0-qwen2
	printf 't, q = tensors, "%s"\n%s\n' "$Q" "$1" | python3 "$TESTS/tools/edit_model.py" "$model"
	mkdir -p "$mnt"
	shift
	run -3 --separate-stderr "$GPTQFS" "$model" "$mnt"
	[[ ${#stderr_lines[@]} = 1 ]] || fail "$stderr"
	for word; do
		[[ $stderr = *"$word"* ]] || fail "\"$word\" is not in: $stderr"
	done
	not_mounted "$mnt"
}

@test "4 bits, BF16" { real hqq-4b-g64-bf16; }
@test "3 bits, ten in a word" { real hqq-3b-g32-bf16; }
@test "2 bits along axis 0, with biases" { real hqq-2b-g16-axis0-qwen2; }
@test "codes that are seen as floats" { real hqq-4b-axis0-viewfloat; }
@test "1, 2, 3, 4 and 8 bits, F32 parameters" { real hqq-mixed-f32; }

@test "no HQQ checkpoint is forgotten here" {
	for dir in "$TESTS"/data/int/models/hqq-*/ "$ROOT"/../shared/int/models/hqq-*/; do
		[[ ! -d $dir ]] || grep -q " $(basename "$dir"); }\$" "$BATS_TEST_FILENAME" || fail "no test for $dir"
	done
}

@test "the plain C code gives the same" {
	GPTQFS_CPU=c real hqq-2b-g16-axis0-qwen2
}

@test "info names the format, and settings are no tensors" {
	find_model hqq-2b-g16-axis0-qwen2
	mount_model "$source" "$mnt"
	grep -qx 'Format: *HQQ' "$mnt/info" || fail "$(cat "$mnt/info")"
	grep -qx 'Tensors: *26' "$mnt/info" || fail "$(cat "$mnt/info")"
	jq -e 'all(.modules[]; .format == "HQQ" and .bits == 2 and .group_size == 16 and .axis == 0)' "$mnt/info.json"
	head -1 "$mnt/tensors/${Q//.//}.info" | grep -q '2-bit, group size 16 along axis 0'
	[[ $(jq 'has("quantization_config")' "$mnt/fp16/config.json") = false ]]
}

@test "saved by hqq itself" { refused 'del t[q + ".encoded_state_dict"]' $Q.encoded_state_dict transformers; }
@test "no shape" { refused 'del t[q + ".shape"]' $Q.shape missing; }
@test "no packing" { refused 'del t[q + ".packing"]' $Q.packing missing; }
@test "no axis" { refused 'del t[q + ".axis"]' $Q.axis missing; }
@test "no zeros" { refused 'del t[q + ".zero"]' $Q.zero missing; }
@test "an unknown packing" { refused 't[q + ".packing"] = ["U8", [7], b"5bit_u8"]' $Q.packing expected 4bit_u8; }
@test "a packing that is no text" { refused 't[q + ".packing"] = ["F32", [2], bytes(8)]' $Q.packing F32 expected; }
@test "a long packing" { refused 't[q + ".packing"] = ["U8", [4096], bytes(4096)]' $Q.packing "[4096]" expected; }
@test "channel_wise 0" { refused 't[q + ".channel_wise"][2] = b"\0"' $Q.channel_wise "expected 1"; }
@test "scales that are quantized" { refused 't[q + ".quant_scale"][2] = b"\1"' $Q.quant_scale "expected 0"; }
@test "zeros that are quantized" { refused 't[q + ".quant_zero"][2] = b"\1"' $Q.quant_zero "expected 0"; }
@test "axis 2" { refused 't[q + ".axis"][2] = b"\2\0\0\0"' $Q.axis expected; }
@test "a shape of one number" { refused 't[q + ".shape"] = ["I64", [1], bytes(8)]' $Q.shape expected; }
@test "a negative shape" { refused 't[q + ".shape"][2] = ints("<qq", -64, 64)' $Q.shape -64 expected; }
@test "a huge shape" { refused 't[q + ".shape"][2] = ints("<qq", 1 << 62, 4)' $Q.shape expected; }
@test "another shape" { refused 't[q + ".shape"][2] = ints("<qq", 64, 128)' $Q.W_q expected; }
@test "scales that do not divide" { refused 't[q + ".scale"] = ["F16", [1, 7], bytes(14)]' $Q.scale "[1, 7]" groups; }
@test "scales of the other axis" { refused 't[q + ".scale"][1] = [256, 1]' $Q.scale "[256, 1]" groups; }
@test "zeros of another type" { refused 't[q + ".zero"] = ["F32", [1, 256], bytes(1024)]' $Q.zero F32 expected; }
@test "codes of another type" { refused 't[q + ".W_q"][0:2] = ["F16", [4, 128]]' $Q.W_q F16 expected; }
@test "codes beside a weight" { refused 't[q + ".weight"] = ["F16", [1], bytes(2)]' $Q .W_q .weight remove; }
