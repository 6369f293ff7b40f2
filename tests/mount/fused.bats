#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Joined modules: the views fused/fp16, fused/bf16, fused/fp32 and packed.

load lib

# All checkpoints, by name.
all_models() {
	(cd / && ls -d "$TESTS"/data/models/*/ "$ROOT"/../shared/models/*/ 2>/dev/null) | xargs -n1 basename | sort -u
}

# ---- fused/ ----

@test "each joined tensor is the rows of its parts, in all three types, of every checkpoint" {
	for name in $(all_models); do
		echo "$name"
		find_model "$name"
		mount_model "$source" "$mnt"
		compare_fused "$mnt"
		unmount "$mnt"
	done
}

@test "parts of different widths, types and biases are joined, others are not" {
	make_checkpoint fusable
	mount_model "$model" "$mnt"
	compare_views "$mnt"
	compare_fused "$mnt"
	run -0 python3 -S - "$mnt/fused/fp16/model.safetensors" <<'END'
import json, struct, sys
with open(sys.argv[1], "rb") as f:
    header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
print(*sorted(header), sep="\n")
END
	diff - <(echo "$output") <<'END'
__metadata__
model.layers.0.mlp.gate_up_proj.weight
model.layers.0.self_attn.qkv_proj.bias
model.layers.0.self_attn.qkv_proj.weight
model.layers.1.mlp.gate_proj.weight
model.layers.1.mlp.up_proj.weight
model.layers.1.self_attn.q_proj.weight
model.layers.2.mlp.experts.0.gate_proj.weight
model.layers.2.mlp.experts.0.up_proj.weight
model.visual.0.self_attn.qkv_proj.weight
END
	grep -qE "^Apart: +model.layers.1.self_attn.qkv_proj, in fused and packed: there is no k_proj$" "$mnt/info"
	grep -qE "^Apart: +model.layers.1.mlp.gate_up_proj, in fused and packed: gate_proj has 64 in_features, up_proj 32$" \
		"$mnt/info"
}

@test "a fused view is complete: the same files, the same configuration" {
	make_checkpoint companions
	mount_model "$model" "$mnt"
	diff <(cd "$mnt/bf16" && find . | LC_ALL=C sort) <(cd "$mnt/fused/bf16" && find . ! -name README | LC_ALL=C sort)
	diff -r -x "*.safetensors" -x README "$mnt/bf16" "$mnt/fused/bf16"
	grep -q "Do not load it with transformers" "$mnt/fused/bf16/README"
	[[ $(ls "$mnt/fused" | tr '\n' ' ') = "bf16 fp16 fp32 " ]]
}

@test "-o view=fused/bf16 is the root of the mount" {
	find_model tiny-qwen2-4b-g64-asym
	mount_model -o view=fused/bf16 "$source" "$mnt"
	python3 -S "$TESTS/tools/compare.py" --fused "$mnt" "$expected.BF16.json"
	[[ ! -e $mnt/fused && ! -e $mnt/info ]]
}

@test "a fused file read in many ways at once" {
	find_model tiny-qwen2-4b-g64-asym
	mount_model "$source" "$mnt"
	cp "$mnt/fused/fp16/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	"$HAMMER" -s 6 "$mnt/fused/fp16/model.safetensors" "$BATS_TEST_TMPDIR/copy"
}

# ---- packed/ ----

# modules VIEW: names of quantized modules in it.
modules() {
	python3 -S - "$1/model.safetensors" <<'END'
import json, struct, sys
with open(sys.argv[1], "rb") as f:
    header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
print(*sorted(n[:-8] for n in header if n.endswith(".qweight")), sep="\n")
END
}

@test "packed: every checkpoint, decoded by others, is the row-wise join of the reference" {
	for name in $(all_models); do
		echo "$name"
		find_model "$name"
		mount_model "$source" "$mnt"
		outer=$server
		check_packed
		server=$outer
		unmount "$mnt"
	done
}

@test "packed: parts that end inside of a word of zeros, in 2, 3, 4 and 8 bits" {
	packed_kind ragged_joins
	diff - <(modules "$mnt/packed") < <(for i in 0 1 2 3; do
		echo "model.layers.$i.mlp.gate_up_proj"
		echo "model.layers.$i.self_attn.qkv_proj"
	done)
}

@test "packed: absent or wrongly stored zeros are written as they are decoded" {
	packed_kind repaired_joins
	[[ $(modules "$mnt/packed") = *gate_up_proj*qkv_proj* ]]
	grep -q "^Modules_repaired: *2$" "$mnt/info"
	mount_model "$mnt/packed" "$again"
	grep -q "^Modules_repaired: *0$" "$again/info"
}

@test "packed: different parts are not joined, and info says why" {
	packed_kind unlike_parts
	[[ $(modules "$mnt/packed" | wc -l) = 11 && $(modules "$mnt/packed") != *gate_up* ]]
	grep -q "^Left_apart: *7 " "$mnt/info"
	diff - <(sed -n 's/^Apart: *//p' "$mnt/info") <<'END'
model.layers.0.mlp.gate_up_proj, in packed: gate_proj has 4 bits, up_proj 8
model.layers.1.mlp.gate_up_proj, in packed: gate_proj has groups of 32 in_features, up_proj of 16
model.layers.2.mlp.gate_up_proj, in packed: gate_proj and up_proj differ in g_idx
model.layers.3.mlp.gate_up_proj, in packed: the scales of gate_proj are BF16, of up_proj F16
model.layers.4.mlp.gate_up_proj, in packed: gate_proj is quantized, up_proj is not
model.layers.5.mlp.gate_up_proj, in packed: one bias is F16, another F32
model.layers.6.mlp.gate_up_proj, in packed: gate_proj is F32, up_proj F16
END
	diff <(sed -n 's/^Apart: *\(.*\), in packed: \(.*\)/\1 True \2/p' "$mnt/info") \
		<(python3 -S -c 'import json, sys
for r in json.load(sys.stdin)["left_apart"]: print(r["module"], r["fused"], r["reason"])' <"$mnt/info.json")
}

@test "packed: one width in words, types and biases of all kinds" { packed_kind fusable; }
@test "packed: v2 zeros" { packed_kind v2; }
@test "packed: act-order" { packed_kind act_order; }
@test "packed: one group" { packed_kind one_group; }
@test "packed: a short last group, no g_idx" { packed_kind ragged_no_g_idx; }
@test "packed: biases" { packed_kind biases; }
@test "packed: zero biases that the architecture lacks are left out" { packed_kind zero_biases; }
@test "packed: BF16 scales" { packed_kind bf16_scales; }
@test "packed: F32 scales" { packed_kind f32_scales; }
@test "packed: Conv1D and embeddings" { packed_kind gpt2; }
@test "packed: Mixtral's experts by the names of the class" { packed_kind mixtral; }
@test "packed: a split MLP" { packed_kind joined_mlp; }
@test "packed: an 8-bit head in a 4-bit model, repaired" { packed_kind base_width_zeros; }
@test "packed: zeros of an old version that shifted none" { packed_kind packed_asymmetric; }
@test "packed: 3-bit zeros with reversed constants, repaired" { packed_kind reversed_3bit_zeros; }
@test "packed: no configuration in config.json" { packed_kind no_config; }
@test "packed: only config.json has the configuration" { packed_kind only_config; }
@test "packed: the configuration in text_config" { packed_kind config_text; }
@test "packed: shards, with modules across them" { packed_kind sharded; }

@test "packed: experts are not joined, and yield the same tensors of the class" {
	for kind in gpt_oss_interleaved gpt_oss_undivided granitemoe; do
		make_checkpoint $kind
		mount_model "$model" "$mnt"
		outer=$server
		again=$BATS_TEST_TMPDIR/again
		mount_model "$mnt/packed" "$again"
		[[ $(modules "$mnt/packed" | grep -c experts) -gt 5 ]]
		compare_views "$again"
		unmount "$again"
		server=$outer
		unmount "$mnt"
		rm -r "$model"
	done
}

@test "packed: names that nobody would choose" {
	make_checkpoint names
	mount_model "$model" "$mnt"
	again=$BATS_TEST_TMPDIR/again
	python3 -S "$TESTS/tools/packed.py" decode "$mnt/packed" "$expected"
	packed_again
}

@test "packed: more than one shard; the index counts weights, not words" {
	make_checkpoint big_packed
	mount_model -o view=packed "$model" "$mnt"
	python3 -S - "$TESTS/tools" "$mnt" <<'END'
import json, os, sys
sys.path.insert(0, sys.argv[1])
import compare
files, weight_map = compare.shards(sys.argv[2])
assert len(files) == 2 and all(os.path.getsize(f) < 5_000_010_000 for f in files)
headers = [compare.read_header(f)[1] for f in files]
assert {n: os.path.basename(f) for f, h in zip(files, headers) for n in h} == weight_map
metadata = json.load(open(sys.argv[2] + "/model.safetensors.index.json"))["metadata"]
assert metadata["total_parameters"] == 12 * 16384 * 65536 + 64, metadata
assert metadata["total_size"] == sum(max(e["data_offsets"][1] for e in h.values()) for h in headers), metadata
# Zeros that were absent, at the end of the last shard but for one tensor: the middle value.
start, header = compare.read_header(files[1])
entry = header["model.layers.5.mlp.gate_up_proj.qzeros"]
with open(files[1], "rb") as f:
    f.seek(start + entry["data_offsets"][0])
    assert f.read(entry["data_offsets"][1] - entry["data_offsets"][0]).strip(b"\x77") == b""
END
}

@test "packed: config.json keeps every other byte" {
	find_model tiny-llama-4b-dynamic
	mount_model -o view=packed "$source" "$mnt"
	python3 -S - "$source" "$mnt" <<'END'
import json, sys
old, new = (open(d + "/config.json").read() for d in sys.argv[1:])
start = old.index('"quantization_config"')
assert new.startswith(old[:start])
quant = json.load(open(sys.argv[2] + "/quantize_config.json"))
end = json.JSONDecoder().raw_decode(old, old.index("{", start))[1]
new_end = json.JSONDecoder().raw_decode(new, new.index("{", start))[1]
assert json.loads(new)["quantization_config"] == quant
# What older readers call rope_parameters' rope_theta is added.
assert old.endswith("\n}") and new[new_end:] == old[end:-2] + ',\n  "rope_theta": 10000.0\n}', new[new_end:]
END
}

@test "packed: a directory like any model's" {
	make_checkpoint companions
	mount_model "$model" "$mnt"
	diff <(cd "$mnt/fp16" && find . | LC_ALL=C sort) \
		<(cd "$mnt/packed" && find . ! -name quantize_config.json | LC_ALL=C sort)
	diff -r -x "*.safetensors" -x "*config.json" "$mnt/fp16" "$mnt/packed"
}

@test "packed: a file read in many ways at once" {
	make_checkpoint ragged_joins
	mount_model "$model" "$mnt"
	cp "$mnt/packed/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	"$HAMMER" -s 7 "$mnt/packed/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	unmount "$mnt"
	find_model tiny-qwen2-4b-g64-asym
	mount_model -o direct_io "$source" "$mnt"
	cp "$mnt/packed/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	"$HAMMER" -x -s 8 "$mnt/packed/model.safetensors" "$BATS_TEST_TMPDIR/copy"
}
