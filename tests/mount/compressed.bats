#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# compressed-tensors, integers: every tensor has the expected SHA-256 in all three types, read through a mount.

load lib

# real NAME: a checkpoint made by llm-compressor or compressed-tensors.
real() {
	find_model "$1"
	mount_model "$source" "$mnt"
	compare_views "$mnt"
}

@test "4 bits, group size 32, zeros packed down the columns" { real ct-w4-asym-g32; }
@test "4 bits, group size 128, BF16" { real ct-w4-g128-bf16; }
@test "8 bits packed, a scale for each row, odd sizes" { real ct-w8-channel-ragged; }
@test "8 bits as bytes" { real ct-w8a8; }
@test "8 bits as bytes, one scale and one zero for a tensor" { real ct-w8-tensor-asym-naive; }
@test "2, 3, 5, 6 and 7 bits as a stream" { real ct-bits-2to7; }
@test "3, 5, 6 and 7 bits in whole fields, from a version before 0.18" { real ct012-bits-3567-words; }
@test "groups in the order of activations" { real ct012-actorder-group; }
@test "zeros as bytes beside packed codes, and a module without" { real ct081-asym-i8-zeros; }
@test "several groups, packed and bytes, and a quantized head" { real ct-mixed-lmhead; }
@test "experts, one module each" { real ct-moe-w4; }
@test "scales of a cache are left out" { real ct-kvcache-w4; }
@test "two shards" { real ct-sharded-gptq-asym; }

@test "the plain C code gives the same" {
	GPTQFS_CPU=c real ct012-bits-3567-words
}

@test "fused views have the same rows" {
	find_model ct-bits-2to7
	mount_model "$source" "$mnt"
	compare_fused "$mnt"
}

@test "all checkpoints of compressed-tensors are tested here" {
	for dir in "$TESTS"/data/int/models/ct*/ "$ROOT"/../shared/int/models/ct*/; do
		[[ ! -d $dir ]] || grep -q " $(basename "$dir"); }\$" "$BATS_TEST_FILENAME" || fail "no test for $dir"
	done
}

@test "info names the format and says why there is no packed view" {
	find_model ct-bits-2to7
	mount_model "$source" "$mnt"
	grep -qx 'Format: *compressed-tensors' "$mnt/info" || fail "$(cat "$mnt/info")"
	grep -qx 'Producer: *compressed-tensors 0.19.0' "$mnt/info" || fail "$(cat "$mnt/info")"
	grep -q '^Packed_view: *- (.*cannot be joined in packed form)' "$mnt/info" || fail "$(cat "$mnt/info")"
	[[ ! -e $mnt/packed ]]
	jq -e '[.modules[] | .bits] | unique == [2, 3, 5, 6, 7]' "$mnt/info.json"
	run -3 "$GPTQFS" -o view=packed "$source" "$mnt"
}

@test "packed: zeros of their own" {
	packed_model ct-w4-asym-g32
	jq -e '.checkpoint_format == "gptq_v2" and (.sym | not) and .group_size == 32' "$mnt/packed/quantize_config.json"
	cp "$mnt/packed/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	"$HAMMER" -s 9 "$mnt/packed/model.safetensors" "$BATS_TEST_TMPDIR/copy"
}

@test "packed: symmetric, BF16 scales" {
	packed_model ct-w4-g128-bf16
	jq -e '.checkpoint_format == "gptq" and .sym and .quant_method == "gptq"' "$mnt/packed/quantize_config.json"
}

@test "packed: 8 bits, odd sizes" { packed_model ct-w8-channel-ragged; }
@test "packed: act-order" { packed_model ct012-actorder-group; }
@test "packed: experts" { packed_model ct-moe-w4; }

# unpacked NAME WORDS: there is no packed view, and info says why.
unpacked() {
	find_model "$1"
	mount_model "$source" "$mnt"
	grep -q "^Packed_view: *- (model.* $2.*: modules cannot be joined in packed form)" "$mnt/info" || fail "$(cat "$mnt/info")"
	[[ ! -e $mnt/packed ]]
}

@test "packed: not for codes in bytes" { unpacked ct-w8a8 'codes in bytes'; }
@test "packed: not for zeros in bytes" { unpacked ct081-asym-i8-zeros 'zeros in bytes'; }

@test "packed: not if a tensor has a name that GPTQ needs" {
	copy_model ct-w4-g128-bf16
	edit_model <<<'tensors["model.layers.0.mlp.up_proj.g_idx"] = ["I32", [1], bytes(4)]'
	mount_model "$model" "$mnt"
	grep -q "^Packed_view: *- (a tensor is named model.layers.0.mlp.up_proj.g_idx already" "$mnt/info" || fail "$(cat "$mnt/info")"
}

@test "the files of one module describe it" {
	find_model ct-bits-2to7
	mount_model "$source" "$mnt"
	head -1 "$mnt/tensors/model/layers/0/self_attn/k_proj.info" |
		grep -q '5-bit, group size 32, asymmetric, \[32, 64\]'
	[[ $(getfattr --only-values -n user.gptqfs.bits "$mnt/tensors/model/layers/0/self_attn/k_proj.npy") = 5 ]]
}

@test "config.json of a view does not say quantized" {
	find_model ct-bits-2to7
	mount_model "$source" "$mnt"
	[[ $(jq 'has("quantization_config")' "$mnt/bf16/config.json") = false ]]
}

@test "without a configuration, shapes tell" {
	copy_model ct-bits-2to7
	edit_model <<<'del config["quantization_config"]'
	mount_model "$model" "$mnt"
	compare_views "$mnt"
}

@test "a configuration that is older than quantization_config" {
	copy_model ct-bits-2to7
	edit_model <<<'config["compression_config"] = config.pop("quantization_config")'
	mount_model "$model" "$mnt"
	compare_views "$mnt"
	jq -e '(has("compression_config") or has("quantization_config")) == false' "$mnt/bf16/config.json"
}

# Makes the shapes of all modules fit two groups: K = 64 codes in 2 words are one of 1 bit, whatever the group size.
ambiguous() {
	copy_model ct-bits-2to7
	edit_model <<END
for module in {n[:-14] for n in tensors if n.endswith(".weight_packed")}:
    if "q_proj" not in module:
        for n in [n for n in tensors if n.startswith(module + ".weight")]:
            del tensors[n]
        tensors[module + ".weight"] = ["F16", [2, 2], bytes(8)]
    else:
        tensors[module + ".weight_scale"] = ["F16", [64, 2], ints("<128e", *range(128))]
        tensors[module + ".weight_shape"][2] = ints("<2q", 64, 60)
group = {"weights": {"num_bits": 3, "type": "int", "group_size": 32}, "targets": [$1]}
other = {"weights": {"num_bits": 3, "type": "int", "group_size": 40}, "targets": [$2]}
config["quantization_config"]["config_groups"] = {"a": group, "b": other}
END
}

@test "shapes that fit two groups: names of modules, patterns in their order, then classes decide" {
	ambiguous '"re:.*q_proj", "Linear"' '"model.layers.1.self_attn.q_proj"'
	mount_model "$model" "$mnt"
	jq -e '[.modules[] | select(.name | endswith("q_proj")) | .group_size] == [32, 40]' "$mnt/info.json"
	unmount "$mnt"
	rm -r "$model"
	ambiguous '"Linear"' '"re:.*layers\\.1.*", "re:(["'
	refused config.json q_proj '"(["' 'cannot be evaluated'
	rm -r "$model"
	ambiguous '"Linear"' '"re:.*layers\\.1.*"'
	mount_model "$model" "$mnt"
	jq -e '[.modules[] | select(.name | endswith("q_proj")) | .group_size] == [32, 40]' "$mnt/info.json"
	unmount "$mnt"
	rm -r "$model"
	ambiguous '"something"' '"else"'
	refused config.json q_proj 'not a target'
}

@test "of groups with the same target the last counts" {
	for target in '"Linear"' '"re:.*q_proj"' '"model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"'; do
		ambiguous "$target" "$target"
		mount_model "$model" "$mnt"
		jq -e '[.modules[] | select(.name | endswith("q_proj")) | .group_size] == [40, 40]' "$mnt/info.json"
		unmount "$mnt"
		rm -r "$model"
	done
}

@test "words that may be of several widths, without a configuration" {
	copy_model ct-w4-asym-g32
	edit_model <<'END'
del config["quantization_config"]
module = "model.layers.0.mlp.up_proj."
del tensors[module + "weight_zero_point"]
tensors[module + "weight_packed"][1:] = [[160, 1], bytes(640)]
tensors[module + "weight_shape"][2] = ints("<2q", 160, 8)
tensors[module + "weight_scale"][1:] = [[160, 1], tensors[module + "weight_scale"][2][:320]]
END
	refused up_proj.weight_packed 'several widths' 'config_groups'
}

@test "weights that were never compressed pass, their scales do not" {
	copy_model ct-w8a8
	edit_model <<'END'
for name in [n for n in tensors if n.endswith(".weight_scale")]:
    n, k = tensors[name[:-6]][1]
    tensors[name[:-6]] = ["F16", [n, k], ints(f"<{n * k}e", *(i % 7 for i in range(n * k)))]
END
	mount_model "$model" "$mnt"
	grep -q '14 modules .*stored beside the scales that would round them' "$mnt/info" || fail "$(cat "$mnt/info")"
	python3 - "$mnt/fp16/model.safetensors" <<'END'
import json, struct, sys
with open(sys.argv[1], "rb") as f:
    names = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
assert "model.layers.0.mlp.up_proj.weight" in names and not [n for n in names if "_scale" in n]
END
}

@test "sparse formats are refused by name" {
	copy_model ct-w8a8
	edit_model <<<'config["quantization_config"]["sparsity_config"] = {"format": "sparse-24-bitmask"}'
	refused config.json sparse-24-bitmask sparse
	edit_model <<'END'
config["quantization_config"]["sparsity_config"] = {}
for name in ("compressed", "bitmask"):
    tensors["model.layers.0.mlp.up_proj." + name] = ["U8", [4], bytes(4)]
END
	refused model.safetensors up_proj.bitmask sparse
}

@test "transforms are refused by name" {
	copy_model ct-w8a8
	edit_model <<<'config["quantization_config"]["transform_config"] = {"config_groups": {"R1": {"type": "hadamard"}}}'
	refused config.json transform_config rotated
}

@test "three dimensions are refused by name" {
	copy_model ct-w4-asym-g32
	edit_model <<<'tensors["model.layers.0.mlp.up_proj.weight_packed"][1].insert(0, 1)'
	refused up_proj.weight_packed 'three dimensions'
}

@test "sizes that contradict each other" {
	copy_model ct-w4-asym-g32
	edit_model <<<'tensors["model.layers.0.mlp.up_proj.weight_shape"][2] = ints("<2q", 161, 64)'
	refused up_proj.weight_shape '161, 64' '160 rows'
	edit_model <<<'tensors["model.layers.0.mlp.up_proj.weight_shape"][2] = ints("<2q", 160, 2 ** 40)'
	refused up_proj.weight_packed 'at most'
	edit_model <<<'tensors["model.layers.0.mlp.up_proj.weight_shape"][2] = ints("<2q", 160, 9)'
	refused up_proj.weight_scale 'for each row, or for each group'
	edit_model <<<'del tensors["model.layers.0.mlp.up_proj.weight_shape"]'
	refused up_proj.weight_packed 'has no' weight_shape
}

@test "bytes with an offset, which are another program's" {
	copy_model ct-w8a8
	edit_model <<'END'
del config["quantization_config"]
scale = tensors["model.layers.0.mlp.up_proj.weight_scale"]
tensors["model.layers.0.mlp.up_proj.weight_offset"] = [scale[0], scale[1], bytes(len(scale[2]))]
END
	refused up_proj.weight_offset ModelSlim
}

@test "bytes without a scale while other modules have theirs" {
	copy_model ct-w8a8
	edit_model <<<'del tensors["model.layers.0.mlp.up_proj.weight_scale"]'
	refused up_proj.weight 'has no' up_proj.weight_scale
}

@test "zeros, scales and groups that fit nothing" {
	copy_model ct012-actorder-group
	edit_model <<<'tensors["model.layers.0.mlp.up_proj.weight_g_idx"][2] = ints("<64i", *[2] * 64)'
	refused up_proj.weight_g_idx 'not one of 2'
	edit_model <<<'tensors["model.layers.0.mlp.up_proj.weight_g_idx"][2] = ints("<64i", *[7] * 63, -1)'
	mount_model "$model" "$mnt"
	unmount "$mnt"
	edit_model <<<'tensors["model.layers.0.mlp.up_proj.weight_zero_point"][0] = "F32"'
	refused up_proj.weight_zero_point F32 expected
	edit_model <<<'del tensors["model.layers.0.mlp.up_proj.weight_scale"]'
	refused up_proj.weight_packed 'has no' weight_scale
}
