#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# MXFP4, MXFP6 and NVFP4: every tensor has the expected SHA-256 in all three types, read through a mount.

load lib

# real NAME: a checkpoint made by a real quantizer, or in the layout of one.
real() {
	find_model "$1"
	mount_model "$source" "$mnt"
	compare_views "$mnt"
}

@test "gpt-oss: experts in one tensor, transposed" { real f-mxfp4-gptoss; }
@test "MXFP4 of compressed-tensors" { real f-mxfp4-ct; }
@test "MXFP4 of ModelOpt: many zeros are negative" { real f-mxfp4-modelopt; }
@test "NVFP4 of compressed-tensors: divided by the global scale" { real f-nvfp4-ct; }
@test "NVFP4 of ModelOpt: multiplied, and scales of activations are left out" { real f-nvfp4-modelopt; }
@test "NVFP4 and FP8 in one model" { real f-mixed-ct-nvfp4-fp8; }

@test "the plain C code gives the same" {
	GPTQFS_CPU=c real f-mxfp4-gptoss
}

@test "all such checkpoints are tested here" {
	for dir in "$TESTS"/data/float/models/f-*{mxfp4,nvfp4}*/ "$ROOT"/../shared/float/models/f-*{mxfp4,nvfp4}*/; do
		[[ ! -d $dir ]] || grep -q " $(basename "$dir"); }\$" "$BATS_TEST_FILENAME" || fail "no test for $dir"
	done
}

# compare_model: the one in $model, of which a mount is left.
compare_model() {
	mount_model "$model" "$mnt"
	compare_views "$mnt"
}

# made KIND: a synthetic one.
made() {
	make_checkpoint "$1"
	compare_model
}

@test "MXFP6: four codes in three bytes" { made mxfp6; }

@test "every layout in one model, GPTQ among them" {
	made fp4_mixed
	[[ $(jq -r '[.modules[].format] | unique | join(" ")' "$mnt/info.json") = "GPTQ MXFP4 MXFP6 NVFP4" ]]
	unmount "$mnt"
	GPTQFS_CPU=c compare_model
}

@test "Quark's rotations that are undone in weights" { made quark_rotated_weights; }
@test "AutoRound's GPT-2, transposed" { made fp4_gpt2; }
@test "DeepSeek's layout beside int8 modules of the same name" { made deepseek_and_int8; }

@test "info names formats, groups, and what the global scale does" {
	find_model f-mixed-ct-nvfp4-fp8
	mount_model "$source" "$mnt"
	grep -qx 'Format: *NVFP4, FP8' "$mnt/info" || fail "$(cat "$mnt/info")"
	grep -qx 'Group_size: *16 (2 modules)' "$mnt/info" || fail "$(cat "$mnt/info")"
	[[ ! -e $mnt/packed ]]
	jq -e '[.modules[] | select(.format == "NVFP4")] | length == 2 and
		all(.bits == 4 and .group_size == 16 and .scale_dtype == "F8_E4M3" and .global_scale == "divides")' \
		"$mnt/info.json"
	grep -qx 'Global_scale: *divides' "$mnt/tensors/model/layers/0/mlp/up_proj.info" ||
		fail "$(cat "$mnt/tensors/model/layers/0/mlp/up_proj.info")"
}

@test "gpt-oss: names and shapes are those of the class" {
	find_model f-mxfp4-gptoss
	mount_model "$source" "$mnt"
	[[ $(jq 'has("quantization_config")' "$mnt/bf16/config.json") = false ]]
	jq -e '[.modules[] | select(.name | endswith("layers.0.mlp.experts.gate_up_proj"))] |
		length == 1 and .[0].in_features == 64 and .[0].out_features == 192' "$mnt/info.json"
	grep -qx 'Shape: *\[4, 64, 192\]' "$mnt/tensors/model/layers/0/mlp/experts/gate_up_proj.info" ||
		fail "$(cat "$mnt/tensors/model/layers/0/mlp/experts/gate_up_proj.info")"
}

@test "gpt-oss: original/ and metal/ are not shown" {
	copy_model f-mxfp4-gptoss
	mkdir -p "$model"/{original,metal,chat}
	cp "$model/model-00001-of-000002.safetensors" "$model/original/model.safetensors"
	cp "$model/config.json" "$model/original/dtypes.json"
	echo weights >"$model/metal/model.bin"
	echo text >"$model/chat/template"
	mount_model "$model" "$mnt"
	compare_views "$mnt"
	[[ ! -e $mnt/bf16/original && ! -e $mnt/bf16/metal ]]
	[[ -e $mnt/bf16/chat/template ]]
	grep -q 'metal/model.bin' "$mnt/info" || fail "$(cat "$mnt/info")"
}

@test "small and unaligned reads of transposed experts" {
	find_model f-mxfp4-gptoss
	mount_model "$source" -o direct_io "$mnt"
	for type in fp16 fp32; do
		python3 - "$mnt/$type/model.safetensors" <<'END'
import os, random, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
size = os.fstat(fd).st_size
whole = b"".join(iter(lambda: os.read(fd, 1 << 20), b""))
assert len(whole) == size
rnd = random.Random(1)
for _ in range(400):
    at, n = rnd.randrange(size), rnd.choice([1, 2, 100, 500, 4096, 9000])
    assert os.pread(fd, n, at) == whole[at:at + n], (at, n)
END
	done
}

@test "--check counts scales that are no numbers" {
	copy_model f-mxfp4-gptoss
	python3 - "$model/model-00001-of-000002.safetensors" <<'END'
import json, struct, sys
with open(sys.argv[1], "r+b") as f:
    size = struct.unpack("<Q", f.read(8))[0]
    t = json.loads(f.read(size))["model.layers.1.mlp.experts.gate_up_proj_scales"]
    f.seek(8 + size + t["data_offsets"][0] + 5)
    f.write(b"\xff\xff")
END
	run -0 "$GPTQFS" --check "$model"
	[[ $output = *"Scales_not_finite:"*2* ]] || fail "$output"
	grep -q '^Scales_not_finite: *2$' <<<"$output" || fail "$output"
}

# ---- refusals ----

# refused KIND WORD...: exit 3, with one line that has all the words.
refused() {
	local word

	make_checkpoint "$1"
	mkdir -p "$mnt"
	shift
	run -3 --separate-stderr "$GPTQFS" "$model" "$mnt"
	[[ -z $output && ${#stderr_lines[@]} = 1 ]] || fail "$output$stderr"
	for word; do
		[[ $stderr = *"$word"* ]] || fail "\"$word\" is not in: $stderr"
	done
}

Q=model.layers.0.self_attn.q_proj
E=model.layers.0.mlp.experts.down_proj

@test "NVFP4 without scales" { refused nvfp4_no_scale $Q.weight_packed .weight_scale fetch; }
@test "NVFP4 without a global scale" { refused nvfp4_no_global $Q.weight_packed .weight_global_scale fetch; }
@test "NVFP4 of ModelOpt without a global scale" { refused nvfp4_no_scale_2 $Q.weight .weight_scale_2 fetch; }
@test "two global scales" { refused nvfp4_two_globals $Q.weight_scale_2 "[2]" "one F32"; }
@test "scales padded to 128 rows" { refused nvfp4_padded $Q.weight_scale "[128, 4]" expected; }
@test "scales padded to more columns" { refused nvfp4_padded_columns $Q.weight_scale "[64, 8]" "each 16"; }
@test "E5M3 scales" { refused nvfp4_e5m3 $Q.weight_scale U8 F8_E4M3; }
@test "AWQ's scales of inputs" { refused nvfp4_awq $Q.pre_quant_scale AWQ fetch; }
@test "SVDQuant" { refused nvfp4_svdquant svdquant_lora_a SVDQuant fetch; }
@test "rotations at run time" { refused nvfp4_rotated config.json transform_config rotat fetch; }
@test "rotations of AutoRound" { refused mxfp4_rotated config.json rotation_config rotated fetch; }
@test "rotations of Quark, by its configuration" { refused quark_r4 config.json algo_config rotated fetch; }
@test "rotations of Quark, by a tensor" { refused quark_input_rotation $Q.input_rotation rotated fetch; }
@test "scales in ComfyUI's order" { refused nvfp4_comfy $Q.comfy_quant ComfyUI; }
@test "integers in MXFP4's layout" { refused mxint4 config.json MXINT4 fetch; }
@test "integers in MXFP4's layout, in one layer" { refused mxint4_layer config.json MXINT4 fetch; }
@test "MXFP4 without scales" { refused mxfp4_no_scale $Q.weight_packed .weight_scale fetch; }
@test "scales of another type" { refused mxfp4_other_scale $Q.weight_scale BF16 expected; }
@test "zero points that are not zero" { refused mxfp4_zero_point $Q.weight_zero_point "not all zero" fetch; }
@test "one of several without scales" { refused mxfp4_other_without layers.1.self_attn.q_proj.weight .weight_scale fetch; }
@test "one of DeepSeek's without scales" { refused deepseek_other_without layers.1.self_attn.q_proj.weight .scale fetch; }
@test "bytes and a scale that no family knows" { refused mxfp4_f32_scale $Q.weight U8 $Q.weight_scale fetch; }
@test "groups of 64" { refused mxfp4_wide_groups $Q.weight_scale "[64, 1]" "each 32"; }
@test "codes of five bits" { refused mxfp6_narrow $Q.weight_scale expected; }
@test "gpt-oss without scales" { refused gptoss_no_scales ${E}_blocks _scales fetch; }
@test "gpt-oss with blocks of 8 bytes" { refused gptoss_short_blocks ${E}_scales "each 32"; }
@test "gpt-oss with scales of fewer experts" { refused gptoss_fewer_scales ${E}_scales "[1, 64, 2]" expected; }
