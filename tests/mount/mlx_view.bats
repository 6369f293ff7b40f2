#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# mlx/: the form of MLX has the numbers of the fp32 view, and what it cannot have is told.

load lib

# same [OPTION...]: mlx/ of $source has the numbers of its dense views.
same() {
	mount_model "$@" "$source" "$mnt"
	python3 -S "$TESTS/tools/mlx.py" "$mnt/mlx" "$mnt/fp16" "$mnt/fp32" || fail "$(cat "$mnt/mlx/README")"
}

# types WORD...: what README says of the types, in this order.
types() {
	local pattern

	in_order "$@"
	[[ $(cat "$mnt/mlx/README") = $pattern ]] || fail "$(cat "$mnt/mlx/README")"
}

# each NAME...: those of these models that are there are the same.
each() {
	local name tried=0

	for name; do
		has_model "$name" || continue
		same || fail "$name"
		unmount "$mnt"
		tried=$((tried + 1))
	done
	[[ $tried -gt 0 ]] || skip "none of $*"
}

# no_mlx WORD...: mlx/ has a README with these words in this order alone, and view=mlx is exit 3.
no_mlx() {
	local pattern

	in_order "$@"
	mount_model "$source" "$mnt"
	[[ $(ls "$mnt/mlx") = README ]] || fail "$(ls "$mnt/mlx")"
	[[ $(cat "$mnt/mlx/README") = $pattern ]] || fail "$(cat "$mnt/mlx/README")"
	[[ ! -e $mnt/mlx/config.json && ! -e $mnt/mlx/model.safetensors ]]
	cat "$mnt/fp16/model.safetensors" >/dev/null
	unmount "$mnt"
	run -3 "$GPTQFS" -o view=mlx "$source" "$mnt"
	[[ $output = $pattern ]] || fail "$output"
}

# absent WORD...: there is no mlx/, `info` has these words, and view=mlx is exit 3.
absent() {
	local pattern

	in_order "$@"
	mount_model "$source" "$mnt"
	[[ ! -e $mnt/mlx ]]
	[[ $(grep ^Mlx_view: "$mnt/info") = $pattern ]] || fail "$(cat "$mnt/info")"
	unmount "$mnt"
	run -3 "$GPTQFS" -o view=mlx "$source" "$mnt"
	[[ $output = $pattern ]] || fail "$output"
}

# changed NAME: a copy of a model, changed by the Python on stdin, is $source.
changed() {
	rm -rf "$model"
	copy_model "$1"
	edit_model
	source=$model
}

@test "GPTQ: biases that 16 bits hold, and others" {
	find_model tiny-llama-4b-g32-autoround
	same
	types "4 bits in groups of 32, scales and biases F16 (14 modules)"
	unmount "$mnt"
	find_model tiny-llama-3b-g32-asym
	same
	types "3 bits in groups of 32, scales and biases F32" "F32 scales"
}

@test "GPTQ: groups in parts, planes of bits, a head that is tied" {
	find_model tiny-llama-4b-g128-ragged
	same
	types "groups of 128" "groups of 64"
	unmount "$mnt"
	each tiny-llama-5b-planar tiny-qwen2-4b-g64-asym
}

@test "GPTQ: gate and up apart, which the class has as one" {
	find_model tiny-phi3-4b-g32
	same
}

@test "AWQ and compressed-tensors" { each awq-gemm-g32 ct-bits-2to7; }
@test "GPTQ of other widths, groups and types" {
	each tiny-llama-2b-g32-asym tiny-llama-4b-dynamic tiny-llama-4b-gm1-sym tiny-llama-8b-g64-sym tiny-llamabf16-4b-g32-asym
}
@test "compressed-tensors of other widths, groups and types" {
	each ct-mixed-lmhead ct-sharded-gptq-asym ct-w4-g128-bf16 ct-w8a8 ct012-bits-3567-words ct081-asym-i8-zeros
}
@test "experts in one tensor: Qwen2-MoE, Qwen3-MoE, Mixtral" { each qwen2moe awq-gemm-moe-gptqmodel ct-moe-w4 mixtral; }

@test "the plain C code gives the same" {
	export GPTQFS_CPU=c
	each tiny-llama-4b-g32-autoround ct-bits-2to7
}

@test "another type of floats" {
	find_model tiny-llama-4b-g32-autoround
	mount_model -o dtype=bf16 "$source" "$mnt"
	python3 -S "$TESTS/tools/mlx.py" "$mnt/mlx" "$mnt/bf16" "$mnt/fp32"
	types "scales and biases F16"
	[[ $(jq -r .torch_dtype "$mnt/mlx/config.json") = bfloat16 ]]
	unmount "$mnt"
	mount_model -o dtype=fp32 "$source" "$mnt"
	python3 -S "$TESTS/tools/mlx.py" "$mnt/mlx" "$mnt/fp32" "$mnt/fp32"
	types "scales and biases F32"
}

@test "config.json says that a head is not the embedding: by default mlx-lm's classes drop one that is there" {
	local name

	for name in tiny-llama-4b-g32-shard tiny-qwen2-4b-g64-asym; do
		rm -rf "$model"
		copy_model "$name"
		jq 'del(.tie_word_embeddings)' "$source/config.json" >"$BATS_TEST_TMPDIR/config"
		cp "$BATS_TEST_TMPDIR/config" "$model/config.json"
		"$GPTQFS" --cat=mlx/config.json "$model" | jq -c .tie_word_embeddings >>"$BATS_TEST_TMPDIR/tied"
	done
	[[ $(xargs <"$BATS_TEST_TMPDIR/tied") = "false null" ]] || fail "$(cat "$BATS_TEST_TMPDIR/tied")"
}

@test "widths and types that differ: config.json names the modules that are unlike most" {
	changed tiny-llama-4b-g32-autoround <<'END'
# A scale that 8 times overflows fp16, and one that is infinite.
for module, scale in ("0.mlp.up_proj", 0x7800), ("1.mlp.up_proj", 0x7c00):
    t = tensors[f"model.layers.{module}.scales"]
    t[2] = ints("<H", scale) + t[2][2:]
END
	same
	types "F16 (12 modules)" "F32 (1 modules)" "F16 (1 modules)" "layers.1.mlp.up_proj: a scale" "not finite"
}

@test "act-order: what one module has stays a float, and info says so" {
	changed tiny-llama-4b-g32-autoround <<<'
n = tensors["model.layers.0.mlp.up_proj.qweight"][1][0] * 8
tensors["model.layers.0.mlp.up_proj.g_idx"] = ["I32", [n], ints(f"<{n}i", *(i % (n // 32) for i in range(n)))]'
	same
	types "(13 modules)" "model.layers.0.mlp.up_proj: act-order"
	grep -q '^Mlx_view: .*mlx/README' "$mnt/info"
	run -0 "$GPTQFS" --check "$source"
	[[ $output = *"Mlx_types: "*"4 bits in groups of 32"*"F16 (1 modules)"*"Mlx_inexact: "*"model.layers.0.mlp.up_proj: act-order"* ]] || fail "$output"
	"$GPTQFS" --check --json "$source" | jq -e '(.mlx_inexact | length) == 1'
}

@test "refused: nothing but act-order" {
	find_model tiny-llama-4b-g32-asym-act
	no_mlx "no form for any module" act-order
}

@test "refused: groups that are no multiple of 32" {
	changed tiny-llama-4b-g32-autoround <<'END'
import json, re
for name in [n for n in tensors if n.endswith(".qweight")]:
    module = name.removesuffix(".qweight")
    rows = tensors[name][1][0] * 8
    for suffix in ".qzeros", ".scales":
        t = tensors[module + suffix]
        t[1], t[2] = [rows // 16, t[1][1]], t[2] * 2
    tensors.pop(module + ".g_idx", None)
config["quantization_config"]["group_size"] = 16
END
	rm -f "$model/quantize_config.json"
	no_mlx "no form for any module" "groups of 32"
}

@test "refused: an expert that is missing" {
	changed awq-gemm-moe-gptqmodel <<'END'
for name in [n for n in tensors if ".experts.1.up_proj." in n]:
    del tensors[name]
END
	no_mlx expert 1 switch_mlp.up_proj missing
}

@test "refused: an expert that has integers where others have floats" {
	changed mlx-moe-qwen3 <<'END'
for i in range(config["num_experts"]):
    dtype, width = ("I64", 8) if i == 1 else ("F16", 2)
    tensors[f"model.layers.0.mlp.experts.{i}.up_proj.bias"] = [dtype, [4], bytes(4 * width)]
END
	no_mlx experts.1.up_proj.bias "another shape or type"
}

@test "HQQ, MLX and GEMV fast, whose zeros are no integers" {
	each hqq-4b-g64-bf16 mlx-3b-g32 mlx-moe-qwen3 awq-gemvfast-g128
}

@test "refused: groups down the columns" {
	find_model hqq-2b-g16-axis0-qwen2
	no_mlx "no form for any module" "groups of 32"
}

@test "absent: model types that mlx-lm changes, other formats" {
	changed tiny-llama-4b-g32-autoround <<<'config["model_type"] = "gpt\u00e9"'
	absent 'model_type "gpt' '303' '251"'
	find_model f-bnb-gpt2
	absent "no module is made of integer codes"
}

@test "view=mlx: a directory that stands alone, planned once" {
	find_model tiny-llama-4b-g32-autoround
	mount_model "$source" "$mnt"
	mkdir "$BATS_TEST_TMPDIR/root"
	mount_model -o view=mlx "$source" "$BATS_TEST_TMPDIR/root"
	diff -r "$mnt/mlx" "$BATS_TEST_TMPDIR/root"
	for name in "$mnt"/fp16/*; do
		[[ -e $mnt/mlx/${name##*/} ]] || fail "${name##*/}"
	done
	unmount "$BATS_TEST_TMPDIR/root"
}

@test "any piece of the file is what it is in the whole file" {
	find_model tiny-llama-4b-g128-ragged
	mount_model "$source" "$mnt"
	compare_pieces "$mnt/mlx/model.safetensors"
}

# merged MODEL ADAPTER: with an adapter, what it touches is as in the fp16 view.
merged() {
	find_model "$1"
	find_adapter "$2"
	same -o lora="$adapter"
}

@test "with an adapter that brings tokens and rows for them" {
	merged tiny-llama-4b-g32-asym llama-tokens
	types "an adapter is merged into it"
}
@test "with an adapter that unties the head" { merged tiny-qwen2-4b-g64-asym qwen2-tied-head; }
