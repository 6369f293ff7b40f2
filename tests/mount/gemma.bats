#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Gemma's quantized releases: every tensor has the expected SHA-256 in all three types, read through a mount.

load lib

@test "2, 4 and 8 bits by patterns, an embedding in blocks, scales of activations left out" {
	find_model gemma-int248
	mount_model "$source" "$mnt"
	compare_views "$mnt"
	grep -qx 'Format: *Gemma' "$mnt/info" || fail "$(cat "$mnt/info")"
	jq -e '[.modules[] | select(.name == "model.embed_tokens")] | .[0].group_size == 32 and .[0].bits == 4' \
		"$mnt/info.json"
	jq -e 'has("quantization_config") == false' "$mnt/bf16/config.json"
}

@test "the plain C code gives the same" {
	find_model gemma-int248
	GPTQFS_CPU=c mount_model "$source" "$mnt"
	compare_views "$mnt"
}

@test "without its label, bytes beside scales are not taken for Gemma's" {
	copy_model gemma-int248
	edit_model <<<'config["quantization_config"]["quant_method"] = "zipweights"'
	refused model.safetensors weight
}

@test "a width that no row of the model can have" {
	copy_model gemma-int248
	edit_model <<<'config["quantization_config"]["module_quant_configs"].pop("mlp\\.up_proj$")'
	refused config.json '8 bits' mlp.up_proj 'expected 2 or 4'
	edit_model <<<'config["quantization_config"]["num_bits"] = 4'
	refused config.json '4 bits' mlp.up_proj 'expected 2 or 4'
}

@test "a pattern that cannot be evaluated" {
	copy_model gemma-int248
	edit_model <<'END'
patterns = config["quantization_config"]["module_quant_configs"]
config["quantization_config"]["module_quant_configs"] = {"(": {"num_bits": 4}, **patterns}
END
	refused config.json '"("' embed_tokens 'pattern'
}

@test "scales that fit no rows" {
	copy_model gemma-int248
	edit_model <<<'tensors["model.layers.0.mlp.up_proj.weight_scale"] = ["F32", [191, 1], bytes(764)]'
	refused up_proj.weight_scale 'for each row'
	edit_model <<'END'
tensors["model.layers.0.mlp.up_proj.weight_scale"] = ["F32", [192, 1], bytes(768)]
tensors["model.embed_tokens.embedding_scale"] = ["F32", [256, 3], bytes(3072)]
END
	refused embed_tokens.embedding_scale 'equal blocks'
}

# fp32 NAME: the values of a tensor of $model, a line.
fp32() {
	"$GPTQFS" --cat=fp32/model.safetensors "$model" | python3 -S -c '
import json, struct, sys
data = sys.stdin.buffer.read()
size = struct.unpack("<Q", data[:8])[0]
begin, end = json.loads(data[8:8 + size])[sys.argv[1]]["data_offsets"]
print(*(f"{x:g}" for x in struct.unpack(f"<{(end - begin) // 4}f", data[8 + size + begin:8 + size + end])))' "$1"
}

@test "Gemma 4: a row of 2 bits of a layer that is twice as wide, with as many bytes as another of 4 bits" {
	copy_model gemma-int248
	edit_model <<'END'
config["quantization_config"]["module_quant_configs"]["wide$"] = {"num_bits": 2}
name = "model.layers.1.mlp.wide.weight"
tensors[name] = ["U8", [1, config["intermediate_size"] // 2], bytes([0xe4]) * 96]
tensors[name + "_scale"] = ["F32", [1, 1], ints("<f", 1)]
END
	refused config.json '2 bits' mlp.wide 'expected 2 or 4'
	edit_model <<<'config["use_double_wide_mlp"] = True'
	[[ $(fp32 model.layers.1.mlp.wide.weight) = $(printf -- '-2 -1 0 1 %.0s' {1..96} | sed 's/ $//') ]]
}

@test "of several patterns the one counts that is found first in the name, then the first, which may say nothing" {
	copy_model gemma-int248
	edit_model <<'END'
config["quantization_config"].update(num_bits=4, module_quant_configs={
    "odd$": {"num_bits": 4}, "layers\\.1\\.mlp\\.odd": {"num_bits": 2}, "even$": {}, "even": {"num_bits": 2},
    **config["quantization_config"]["module_quant_configs"]})
for name in "odd", "even":
    tensors[f"model.layers.1.mlp.{name}.weight"] = ["U8", [1, 2], bytes([0xe4, 0x1b])]
    tensors[f"model.layers.1.mlp.{name}.weight_scale"] = ["F32", [1, 1], ints("<f", 1)]
END
	[[ $(fp32 model.layers.1.mlp.odd.weight) = "-2 -1 0 1 1 0 -1 -2" ]]
	[[ $(fp32 model.layers.1.mlp.even.weight) = "-4 6 3 -7" ]]
}
