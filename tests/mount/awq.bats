#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# AWQ checkpoints: every tensor has the expected SHA-256 in all three types, read through a mount.

load lib

Q=model.layers.0.self_attn.q_proj

# real NAME: a checkpoint made by a real quantizer.
real() {
	find_model "$1"
	mount_model "$source" "$mnt"
	compare_views "$mnt"
	compare_fused "$mnt"
}

# made KIND: one of tests/tools/awq_checkpoints.py.
made() {
	make_checkpoint "$1"
	mount_model "$model" "$mnt"
	compare_views "$mnt"
}

# refused KIND WORD...: exit 3, and a line that has all the words.
refused() {
	local word

	make_checkpoint "$1"
	mkdir -p "$mnt"
	shift
	run -3 --separate-stderr "$GPTQFS" "$model" "$mnt"
	[[ ${#stderr_lines[@]} = 1 ]] || fail "$stderr"
	for word; do
		[[ $stderr = *"$word"* ]] || fail "\"$word\" is not in: $stderr"
	done
	not_mounted "$mnt"
}

@test "AutoAWQ: GEMM" { real awq-gemm-g32; }
@test "AutoRound: symmetric, with zeros all the same" { real awq-gemm-sym-autoround; }
@test "GPTQModel: experts one by one, BF16 scales" { real awq-gemm-moe-gptqmodel; }
@test "AutoAWQ: GEMV fast" { real awq-gemvfast-g128; }

@test "all AWQ checkpoints are tested here" {
	for dir in "$TESTS"/data/int/models/awq-*/ "$ROOT"/../shared/int/models/awq-*/; do
		[[ ! -d $dir ]] || grep -q " $(basename "$dir"); }\$" "$BATS_TEST_FILENAME" || fail "no test for $dir"
	done
}

@test "GEMV: groups of 64, in the shapes of a GPTQ matrix" { made awq_gemv; }
@test "GEMV: groups of 32, which are padded most" { made awq_gemv_g32; }
@test "GEMV: groups of 128" { made awq_gemv_g128; }
@test "quant_config.json of the first AutoAWQ" { made awq_old; }
@test "no zeros: all are 8" { made awq_no_zeros; }
@test "BF16 scales" { made awq_bf16; }
@test "a last group that is short" { made awq_ragged; }
@test "one group for each output" { made awq_one_group; }
@test "no configuration: the shapes tell GEMM" { made awq_unlabelled; }
@test "AutoRound's own label" { made awq_autoround; }
@test "a Conv1D keeps its orientation" { made awq_gpt2; }

@test "the plain C code gives the same" {
	GPTQFS_CPU=c real awq-gemm-g32
	GPTQFS_CPU=c made awq_gemv
}

@test "info names the format and its layout" {
	find_model awq-gemm-g32
	mount_model "$source" "$mnt"
	grep -qx 'Format: *AWQ' "$mnt/info" || fail "$(cat "$mnt/info")"
	grep -qx 'Bits: *4 (14 modules)' "$mnt/info" || fail "$(cat "$mnt/info")"
	jq -e 'all(.modules[]; .format == "AWQ" and .bits == 4 and .group_size == 32 and .layout == "gemm" and
		.scale_dtype == "F16" and .symmetric == false)' "$mnt/info.json"
	head -1 "$mnt/tensors/${Q//.//}.info" | grep -q '4-bit, group size 32, asymmetric, gemm'
	[[ $(jq 'has("quantization_config")' "$mnt/fp16/config.json") = false ]]
}

@test "version marlin" { refused awq_marlin quantize_config.json marlin expected gemm; }
@test "other than 4 bits" { refused awq_8_bits quantize_config.json "8 bits" expected 4; }
@test "scales of an activation" { refused awq_activation model.safetensors act.scales activation; }
@test "no scales" { refused awq_no_scales $Q.qweight .scales fetch; }
@test "no codes" { refused awq_no_qweight $Q.qzeros .qweight fetch; }
@test "codes beside a weight" { refused awq_both $Q .qweight .weight remove; }
@test "zeros of another shape" { refused awq_zeros_shape $Q.qzeros "[2, 8]" expected; }
@test "scales of another type" { refused awq_scales_type $Q.scales I16 expected F16; }
@test "groups that no group size makes" { refused awq_groups $Q.scales group_size; }
@test "GEMV: room for other groups than there are" { refused awq_gemv_slots down_proj.scales group_size 128; }
@test "called AWQ, packed as GPTQ" { refused awq_shape_of_gptq down_proj.qweight expected AWQ; }
@test "called GPTQ, packed as AWQ" { refused gptq_shape_of_awq down_proj.qweight AWQ GPTQ; }

@test "packed: GEMM" { packed_model awq-gemm-g32; }
@test "packed: symmetric" { packed_model awq-gemm-sym-autoround; }
@test "packed: GEMV, groups of 32" { packed_kind awq_gemv_g32; }
@test "packed: a last group and a last word that are short" { packed_kind awq_ragged; }
@test "packed: a Conv1D" { packed_kind awq_gpt2; }

@test "packed: all zeros 8, as v1" {
	packed_kind awq_no_zeros
	jq -e '.checkpoint_format == "gptq" and .sym' "$mnt/packed/quantize_config.json"
}

# Programs that run symmetric GPTQ look at no zeros.
@test "packed: not symmetric because the configuration says so" {
	packed_kind awq_not_symmetric
	jq -e '.checkpoint_format == "gptq_v2" and .sym == false' "$mnt/packed/quantize_config.json"
	grep -q '^Warning: *2 modules .*zeros are the middle value' "$mnt/info" || fail "$(cat "$mnt/info")"
}

@test "packed: zeros that are stored, as v2" {
	packed_model awq-gemm-moe-gptqmodel
	jq -e '.checkpoint_format == "gptq_v2" and .quant_method == "gptq" and .bits == 4 and .desc_act == false' \
		"$mnt/packed/quantize_config.json"
	cp "$mnt/packed/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	"$HAMMER" -s 9 "$mnt/packed/model.safetensors" "$BATS_TEST_TMPDIR/copy"
}

@test "packed: not for zeros that are floats" {
	find_model awq-gemvfast-g128
	mount_model "$source" "$mnt"
	grep -q '^Packed_view: *- (model.* has zeros that are floats: .*cannot be joined in packed form)' "$mnt/info" || fail "$(cat "$mnt/info")"
	[[ ! -e $mnt/packed ]]
	run -3 "$GPTQFS" -o view=packed "$source" "$mnt"
}

@test "packed: not for scales of type F32" {
	copy_model awq-gemm-g32
	edit_model <<'END'
import struct
for name in [n for n in tensors if n.endswith(".scales")]:
    dtype, shape, data = tensors[name]
    count = len(data) // 2
    tensors[name] = ["F32", shape, struct.pack(f"<{count}f", *struct.unpack(f"<{count}e", data))]
END
	mount_model "$model" "$mnt"
	grep -q '^Packed_view: *- (model.* has scales of type F32.*cannot be joined in packed form)' "$mnt/info" || fail "$(cat "$mnt/info")"
	[[ ! -e $mnt/packed ]]
}
