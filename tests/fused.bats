#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Joined modules: the views fused/fp16, fused/bf16 and fused/fp32.

load lib

# All checkpoints there are, by name.
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

@test "parts of unlike widths, types and biases are joined, others stay apart" {
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
}

@test "a fused view is complete: the same files, the same configuration" {
	make_checkpoint companions
	mount_model "$model" "$mnt"
	diff <(cd "$mnt/bf16" && find . | LC_ALL=C sort) <(cd "$mnt/fused/bf16" && find . | LC_ALL=C sort)
	diff -r -x "*.safetensors" "$mnt/bf16" "$mnt/fused/bf16"
	[[ $(ls "$mnt/fused" | tr '\n' ' ') = "bf16 fp16 fp32 " ]]
}

@test "-o view=fused/bf16 is the root of the mount" {
	find_model tiny-qwen2-4b-g64-asym
	mount_model -o view=fused/bf16 "$source" "$mnt"
	python3 -S "$TESTS/compare.py" --fused "$mnt" "$expected.BF16.json"
	[[ ! -e $mnt/fused && ! -e $mnt/info ]]
}

@test "a fused file read from many sides at once" {
	find_model tiny-qwen2-4b-g64-asym
	mount_model "$source" "$mnt"
	cp "$mnt/fused/fp16/model.safetensors" "$BATS_TEST_TMPDIR/copy"
	"$HAMMER" -s 6 "$mnt/fused/fp16/model.safetensors" "$BATS_TEST_TMPDIR/copy"
}
