#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# FP8 checkpoints: every tensor has the expected SHA-256 in all three types, read through a mount.

load lib

# real NAME: a checkpoint made by a real quantizer, or in the layout of one.
real() {
	find_model "$1"
	mount_model "$source" "$mnt"
	compare_views "$mnt"
}

@test "DeepSeek-V3: blocks of 128x128, several shards, scales in others" { real f-fp8-dsv3-shards; }
@test "DeepSeek-V4: E8M0 scales, and experts of MXFP4" { real f-fp8-dsv4-e8m0-fp4experts; }
@test "experts of a layer in one tensor of three dimensions" { real f-fp8-experts-3d; }
@test "Qwen3-MoE: BF16 scales" { real f-fp8-qwen3moe-bf16scale; }
@test "NaN codes, scales that are NaN, inf, negative, subnormal" { real f-fp8-odd-values; }
@test "AutoRound: ragged blocks, BF16 scales" { real f-fp8-autoround-block; }
@test "llm-compressor: blocks" { real f-fp8-ct-block-f32; }
@test "llm-compressor: a scale for each row" { real f-fp8-ct-dynamic; }
@test "ModelOpt: one scale for the tensor" { real f-fp8-modelopt; }
@test "ModelOpt: scales of four dimensions" { real f-fp8-modelopt-pbwo; }
@test "MXFP8: groups of 32 with E8M0 scales" { real f-mxfp8-ct; }
@test "static: one scale, and those of activations are left out" { real f-fp8-tensor-static; }

@test "the plain C code gives the same" {
	GPTQFS_CPU=c real f-fp8-dsv3-shards
}

@test "all FP8 checkpoints are tested here" {
	for dir in "$TESTS"/data/float/models/f-fp8-*/ "$ROOT"/../shared/float/models/f-fp8-*/; do
		[[ ! -d $dir ]] || grep -q " $(basename "$dir"); }\$" "$BATS_TEST_FILENAME" || fail "no test for $dir"
	done
}

@test "info names the format and says why there is no packed view" {
	find_model f-fp8-dsv3-shards
	mount_model "$source" "$mnt"
	grep -qx 'Format: *FP8' "$mnt/info" || fail "$(cat "$mnt/info")"
	grep -qx 'Bits: *8 (28 modules)' "$mnt/info" || fail "$(cat "$mnt/info")"
	grep -q '^Packed_view: *- (.*cannot be joined in packed form)' "$mnt/info" || fail "$(cat "$mnt/info")"
	[[ ! -e $mnt/packed ]]
	[[ $(jq -r '.views | index("packed")' "$mnt/info.json") = null ]]
	jq -e '.modules[0] | .format == "FP8" and .block_rows == 128 and .block_columns == 128 and .scale_dtype == "F32"' \
		"$mnt/info.json"
}

@test "rotations at run time, in a model of FP8 alone" {
	for key in quantization_config compression_config; do
		rm -rf "$model"
		copy_model f-fp8-ct-dynamic
		edit_model <<-END
			part = config["$key"] = config.pop("quantization_config")
			part["transform_config"] = {"config_groups": {"R1": {"type": "hadamard"}}}
		END
		refused config.json transform_config rotated fetch
	done
}

@test "view=packed fails with exit 3 for a model that cannot have it" {
	find_model f-fp8-dsv3-shards
	mkdir -p "$mnt"
	run -3 "$GPTQFS" -o view=packed "$source" "$mnt"
	[[ $output = *packed* ]] || fail "$output"
}

@test "the files of one module describe it" {
	find_model f-fp8-dsv3-shards
	mount_model "$source" "$mnt"
	grep -qx 'Scale_dtype: *F32' "$mnt/tensors/model/layers/0/self_attn/kv_a_proj_with_mqa.info"
	head -1 "$mnt/tensors/model/layers/0/self_attn/kv_a_proj_with_mqa.info" |
		grep -q 'F8_E4M3, a F32 scale for each 128x128, \[160, 128\]'
	[[ $(getfattr --only-values -n user.gptqfs.format "$mnt/tensors/model/layers/0/mlp/up_proj.npy") = FP8 ]]
}

@test "config.json of a view does not say quantized" {
	find_model f-fp8-dsv3-shards
	mount_model "$source" "$mnt"
	[[ $(jq 'has("quantization_config")' "$mnt/bf16/config.json") = false ]]
}

@test "a missing scale while other weights have theirs" {
	copy_model f-fp8-experts-3d
	python3 - "$model/model.safetensors" <<'END'
import json, struct, sys
with open(sys.argv[1], "rb") as f:
    size = struct.unpack("<Q", f.read(8))[0]
    header, data = f.read(size), f.read()
header = header.replace(b"q_proj.weight_scale_inv", b"q_proj.weight_other_inv")
open(sys.argv[1], "wb").write(struct.pack("<Q", size) + header + data)
END
	mkdir -p "$mnt"
	run -3 "$GPTQFS" "$model" "$mnt"
	[[ $output = *q_proj.weight*"has no scale"* ]] || fail "$output"
}

@test "scales that fit no grid" {
	copy_model f-fp8-experts-3d
	python3 - "$model/model.safetensors" <<'END'
import json, struct, sys
with open(sys.argv[1], "rb") as f:
    size = struct.unpack("<Q", f.read(8))[0]
    header, data = json.loads(f.read(size)), f.read()
meta, out, parts = header.pop("__metadata__", {}), {}, b""
for name, t in header.items():
    part = data[t["data_offsets"][0]:t["data_offsets"][1]]
    if name == "model.layers.0.self_attn.q_proj.weight_scale_inv":
        t["shape"], part = [7], part * 7
    out[name] = {**t, "data_offsets": [len(parts), len(parts) + len(part)]}
    parts += part
header = json.dumps(out).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(header)) + header + parts)
END
	mkdir -p "$mnt"
	run -3 "$GPTQFS" "$model" "$mnt"
	[[ $output = *q_proj.weight_scale_inv*"[7]"*expected* ]] || fail "$output"
}

@test "the configuration of a part says that scales divide" {
	copy_model f-fp8-experts-3d
	jq '.llm_config = {quantization_config: (.quantization_config + {weight_scale_semantics: "inverse"})} |
		del(.quantization_config)' "$model/config.json" >"$BATS_TEST_TMPDIR/config"
	cp "$BATS_TEST_TMPDIR/config" "$model/config.json"
	mount_model "$model" "$mnt"
	jq -e '.configuration == "config.json (llm_config)" and all(.modules[]; .divided_by_scale)' "$mnt/info.json"
}

@test "groups of FP8 are not those of integers elsewhere in the configuration" {
	model=$BATS_TEST_TMPDIR/groups
	mkdir "$model"
	echo '{"model_type": "llama", "quantization_config": {"quant_method": "compressed-tensors", "config_groups": {"group_0":
		{"targets": ["re:b$"], "weights": {"num_bits": 8, "type": "int", "strategy": "group", "group_size": 24}}}}}' \
		>"$model/config.json"
	python3 - "$model/model.safetensors" <<'END'
import json, struct, sys
header = json.dumps({"a.weight": {"dtype": "F8_E4M3", "shape": [3, 32], "data_offsets": [0, 96]},
                     "a.weight_scale": {"dtype": "F32", "shape": [3, 2], "data_offsets": [96, 120]}}).encode()
parts = bytes([0x38]) * 96 + struct.pack("<6f", 1, 2, 4, 8, 16, 32)
open(sys.argv[1], "wb").write(struct.pack("<Q", len(header)) + header + parts)
END
	mount_model "$model" "$mnt"
	tail -c 384 "$mnt/fp32/model.safetensors" | python3 -c '
import struct, sys
found = struct.unpack("<96f", sys.stdin.buffer.read())
assert found == tuple(2.0 ** (i // 16) for i in range(96)), found'
}

# ones QUANTIZATION_CONFIG ROWS COLUMNS SCALE_ROWS SCALE_COLUMNS [G_IDX...]: a weight of ones in $model, whose scales are
# powers of two in this order, and perhaps groups of columns, repeated over the row.
ones() {
	model=$BATS_TEST_TMPDIR/ones
	rm -rf "$model"
	mkdir "$model"
	echo "{\"model_type\": \"llama\", \"quantization_config\": $1}" >"$model/config.json"
	python3 - "$model/model.safetensors" "${@:2}" <<'END'
import json, struct, sys
n, k, r, c, *g_idx = map(int, sys.argv[2:])
parts = {"a.weight": ("F8_E4M3", [n, k], bytes([0x38]) * n * k),
         "a.weight_scale": ("F32", [r, c], struct.pack(f"<{r * c}f", *(2.0 ** i for i in range(r * c))))}
if g_idx:
    parts["a.weight_g_idx"] = ("I32", [k], struct.pack(f"<{k}i", *(g_idx * k)[:k]))
header, data = {}, b""
for name, (dtype, shape, part) in parts.items():
    header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(part)]}
    data += part
header = json.dumps(header).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(header)) + header + data)
END
}

# blocks ROWS COLUMNS BLOCK_ROWS BLOCK_COLUMNS: every value is the scale of its block, and nothing else is shown.
blocks() {
	"$GPTQFS" --cat=fp32/model.safetensors "$model" | python3 -c '
import json, struct, sys
n, k, rows, columns = map(int, sys.argv[1:])
header = json.loads(sys.stdin.buffer.read(struct.unpack("<Q", sys.stdin.buffer.read(8))[0]))
assert [name for name in header if name != "__metadata__"] == ["a.weight"], header
found, width = struct.unpack(f"<{n * k}f", sys.stdin.buffer.read()), -(-k // columns)
assert found == tuple(2.0 ** (i // k // rows * width + i % k // columns) for i in range(n * k)), found' "$@"
}

# scheme MEMBERS: a configuration with this scheme of 8-bit floats after one of 4 bits in groups of 16.
scheme() {
	echo '{"quant_method": "compressed-tensors", "config_groups": {
		"a": {"targets": ["re:x"], "weights": {"num_bits": 4, "type": "float", "group_size": 16}},
		"b": {"targets": ["re:a"], "weights": {"num_bits": 8, "type": "float", '"$1"'}}}}'
}

@test "the last block of a ragged matrix is short, whatever else the configuration names" {
	ones "$(scheme '"group_size": 32')" 1 48 1 2
	blocks 1 48 1 32
	ones "$(scheme '"block_structure": "64x64"')" 144 64 3 1
	blocks 144 64 64 64
	ones '{"quant_method": "fp8", "weight_block_size": [16, 16], "dynamic": {"a": {"weight_block_size": [96, 96]}}}' \
		144 96 2 1
	blocks 144 96 96 96
}

@test "several sizes of blocks in the configuration fit" {
	two='{"quant_method": "fp8", "weight_block_size": [128, 128], "dynamic": {"a": {"weight_block_size": [96, 128]}}}'
	ones "$two" 96 256 1 2
	blocks 96 256 128 128
	ones "$two" 144 128 2 1
	refused a.weight_scale 'several sizes of blocks' config.json
}

@test "a few scales for whole rows, which may be those of parts" {
	ones '{"quant_method": "fp8"}' 96 256 3 1
	refused a.weight_scale '[3, 1]' expected
	ones '{"quant_method": "fp8", "weight_block_size": [32, 256]}' 96 256 3 1
	blocks 96 256 32 256
	ones '{"quant_method": "fp8"}' 96 256 3 2
	blocks 96 256 32 128
}

@test "ComfyUI: plain scales, but no rotated weights" {
	for more in '' ', "full_precision_matrix_mult": true' ', "convrot": true'; do
		ones '{}' 3 32 1 1
		edit_model <<-END
			text = b'{"format": "float8_e4m3fn"$more}'
			tensors["a.comfy_quant"] = ["U8", [len(text)], text]
		END
		[[ $more = *convrot* ]] || blocks 3 32 3 32
	done
	refused a.comfy_quant ComfyUI
}

@test "ComfyUI: the same in the header" {
	for format in float8_e4m3fn mxfp8; do
		ones '{}' 3 32 1 1
		python3 - "$model/model.safetensors" "$format" <<'END'
import json, struct, sys
data = open(sys.argv[1], "rb").read()
size = struct.unpack("<Q", data[:8])[0]
header = json.loads(data[8:8 + size])
layers = {"a": {"format": "float8_e4m3fn"}, "b": {"format": sys.argv[2]}}
header["__metadata__"] = {"format": "pt", "_quantization_metadata": json.dumps({"format_version": "1.0", "layers": layers})}
header = json.dumps(header).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(header)) + header + data[8 + size:])
END
		[[ $format = mxfp8 ]] || blocks 3 32 3 32
	done
	refused model.safetensors 'layer b' ComfyUI
}

@test "groups in the order of activations" {
	ones "$(scheme '"group_size": 16, "actorder": "group"')" 2 32 2 2 -1
	blocks 2 32 1 16
	ones "$(scheme '"group_size": 16, "actorder": "group"')" 2 32 2 2 0 1
	refused a.weight_g_idx 'order of activations'
	ones "$(scheme '"strategy": "channel"')" 2 32 2 1 0
	blocks 2 32 1 32
}

@test "no scale anywhere: codes are plain numbers, and nothing else is quantized" {
	model=$BATS_TEST_TMPDIR/plain
	mkdir "$model"
	echo '{"model_type": "llama"}' >"$model/config.json"
	python3 - "$model/model.safetensors" <<'END'
import json, struct, sys
header = json.dumps({"a.weight": {"dtype": "F8_E4M3", "shape": [1, 4], "data_offsets": [0, 4]}}).encode()
open(sys.argv[1], "wb").write(struct.pack("<Q", len(header)) + header + bytes([0x38, 0x81, 0xff, 0x7e]))
END
	mount_model "$model" "$mnt"
	[[ $(tail -c 16 "$mnt/fp32/model.safetensors" | od -An -tx4) = " 3f800000 bb000000 7fc00000 43e00000" ]]
	grep -q 'F8 tensors have no scale anywhere' "$mnt/info" || fail "$(cat "$mnt/info")"
}
