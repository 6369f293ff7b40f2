#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# MLX, mode affine: every tensor has the expected SHA-256 in all three types, read through a mount.

load lib

# real NAME: a checkpoint made by mlx-lm, or by the quantizer of transformers.
real() {
	find_model "$1"
	mount_model "$source" "$mnt"
	compare_views "$mnt"
}

@test "3 bits, group size 32, data that is not aligned" { real mlx-3b-g32; }
@test "4 bits, group size 64, BF16" { real mlx-4b-g64-bf16; }
@test "6 bits, a tied head" { real mlx-6b-g64-tied; }
@test "8 bits, bias beside biases" { real mlx-8b-g32-qwen2; }
@test "a width for each module" { real mlx-mixed-3-4; }
@test "experts in one tensor are taken apart" { real mlx-moe-qwen3; }
@test "the quantizer of transformers for Metal" { real mlx-metal-4b-g64; }

@test "the plain C code gives the same" {
	GPTQFS_CPU=c real mlx-moe-qwen3
}

@test "all MLX checkpoints are tested here" {
	for dir in "$TESTS"/data/int/models/mlx*/ "$ROOT"/../shared/int/models/mlx*/; do
		[[ ! -d $dir ]] || grep -q " $(basename "$dir"); }\$" "$BATS_TEST_FILENAME" || fail "no test for $dir"
	done
}

@test "info names the format; config.json of a view does not" {
	find_model mlx-moe-qwen3
	mount_model "$source" "$mnt"
	grep -qx 'Format: *MLX' "$mnt/info" || fail "$(cat "$mnt/info")"
	grep -q '^Packed_view: *- (.*cannot be joined in packed form)' "$mnt/info" || fail "$(cat "$mnt/info")"
	jq -e '(has("quantization") or has("quantization_config")) == false' "$mnt/bf16/config.json"
	jq -e '[.modules[] | select(.name == "model.layers.1.mlp.experts.3.up_proj")] |
		length == 1 and .[0].bits == 4 and .[0].biases and .[0].out_features == 64' "$mnt/info.json"
	head -1 "$mnt/tensors/model/layers/0/mlp/gate.info" | grep -q '8-bit, .*with biases'
}

@test "experts that are not quantized are taken apart too" {
	copy_model mlx-moe-qwen3
	edit_model <<'END'
name = "model.layers.0.mlp.switch_mlp.up_proj."
del tensors[name + "scales"], tensors[name + "biases"]
tensors[name + "weight"] = ["F16", [4, 2, 3], ints("<24e", *range(24))]
END
	mount_model "$model" "$mnt"
	python3 - "$mnt/fp32/model.safetensors" <<'END'
import json, struct, sys
with open(sys.argv[1], "rb") as f:
    header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
    base = f.tell()
    for expert in range(4):
        t = header[f"model.layers.0.mlp.experts.{expert}.up_proj.weight"]
        f.seek(base + t["data_offsets"][0])
        assert t["shape"] == [2, 3] and struct.unpack("<6f", f.read(24)) == tuple(range(expert * 6, expert * 6 + 6))
    assert not [n for n in header if "switch_mlp" in n]
END
}

@test "experts of Mixtral have other names" {
	copy_model mlx-moe-qwen3
	edit_model <<'END'
config["model_type"] = "mixtral"
for name in [n for n in tensors if ".mlp." in n]:
    tensors[name.replace(".mlp.", ".block_sparse_moe.")] = tensors.pop(name)
for key in [k for k in config["quantization"] if ".mlp." in k]:
    config["quantization"][key.replace(".mlp.", ".block_sparse_moe.")] = config["quantization"].pop(key)
END
	mount_model "$model" "$mnt"
	jq -r '.modules[].name' "$mnt/info.json" | grep 'layers.0.block_sparse_moe.experts.3' >"$BATS_TEST_TMPDIR/names"
	diff - "$BATS_TEST_TMPDIR/names" <<'END'
model.layers.0.block_sparse_moe.experts.3.w2
model.layers.0.block_sparse_moe.experts.3.w1
model.layers.0.block_sparse_moe.experts.3.w3
END
}

# header: names and shapes of the fp16 view of $model.
header() {
	"$GPTQFS" --cat=fp16/model.safetensors "$model" | python3 -S -c '
import json, struct, sys
data = sys.stdin.buffer.read()
for name, t in json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]]).items():
    print(name, t.get("shape"))'
}

@test "K-EXAONE: the bias of a router has another name" {
	copy_model mlx-moe-qwen3
	edit_model <<'END'
config["model_type"] = "exaone_moe"
tensors["model.layers.1.mlp.gate.e_score_correction_bias"] = ["F32", [4], bytes(16)]
END
	header | grep -qxF 'model.layers.1.mlp.e_score_correction_bias [4]'
}

@test "Apertus: parameters of the activation have lost their dimension" {
	copy_model mlx-3b-g32
	edit_model <<'END'
config["model_type"] = "apertus"
for name in "alpha_p", "alpha_n", "beta":
    tensors[f"model.layers.0.mlp.act_fn.{name}"] = ["BF16", [], bytes(2)]
END
	header >"$BATS_TEST_TMPDIR/header"
	for name in 'alpha_p [1]' 'alpha_n [1]' 'beta []'; do
		grep -qxF "model.layers.0.mlp.act_fn.$name" "$BATS_TEST_TMPDIR/header" || fail "$name"
	done
}

@test "models that mlx-lm changes are refused by name, but AutoRound changes none" {
	copy_model mlx-3b-g32
	edit_model <<<'config["model_type"] = "qwen3_next"'
	refused config.json mlx-lm qwen3_next
	edit_model <<<'config["quantization_config"] = {"quant_method": "auto-round", "packing_format": "mlx"}'
	mount_model "$model" "$mnt"
	compare_views "$mnt"
	unmount "$mnt"
	edit_model <<<'del config["model_type"], config["quantization_config"]'
	refused config.json mlx-lm
}

@test "other modes are refused by name" {
	copy_model mlx-3b-g32
	edit_model <<<'config["quantization"]["mode"] = "mxfp4"'
	refused model.safetensors lm_head.weight mxfp4 affine
	edit_model <<'END'
config["quantization"]["mode"] = "affine"
del tensors["lm_head.biases"]
END
	refused lm_head.weight 'mxfp4, mxfp8 or nvfp4'
}

@test "widths that shapes contradict: the sizes of the model decide, or nothing does" {
	copy_model mlx-3b-g32
	edit_model <<<'config["quantization"] = {"group_size": 64, "bits": 4}'
	mount_model "$model" "$mnt"
	compare_views "$mnt"
	unmount "$mnt"
	edit_model <<<'config.update(hidden_size=4711, intermediate_size=4711)'
	refused config.json '4 bits in groups of 64' 'product of 96'
}

@test "a module that has lost a tensor" {
	local q=model.layers.0.self_attn.q_proj

	copy_model mlx-3b-g32
	edit_model <<<"del tensors['$q.scales']"
	refused $q.weight 'U32 like' 'no scale'
	rm -r "$model"
	copy_model mlx-3b-g32
	edit_model <<<"del tensors['$q.weight']"
	refused $q.scales 'no .weight'
}

@test "shapes that do not belong together" {
	copy_model mlx-3b-g32
	edit_model <<<'tensors["lm_head.biases"] = ["F16", [2], bytes(4)]'
	refused lm_head.biases 'type and shape of its scales'
	edit_model <<'END'
tensors["lm_head.biases"] = ["F16", [256, 5], bytes(2560)]
tensors["lm_head.scales"] = ["F16", [256, 5], bytes(2560)]
END
	refused lm_head.weight 'fill evenly'
	edit_model <<'END'
tensors["lm_head.biases"] = tensors["lm_head.scales"] = ["F16", [2, 128, 2], bytes(1024)]
tensors["lm_head.weight"][1] = [2, 128, 6]
END
	refused lm_head.weight 'two dimensions'
}
