#!/usr/bin/env bats
# SPDX-License-Identifier: MIT
# Every tensor of every checkpoint has the expected SHA-256 in all three types, read through a mount.

load lib

# real NAME: a checkpoint made by a real quantizer.
real() {
	find_model "$1"
	mount_model "$source" "$mnt"
	compare_views "$mnt"
}

# synthetic KIND: one written by make_checkpoint.py, with known values.
synthetic() {
	make_checkpoint "$1"
	mount_model "$model" "$mnt"
	compare_views "$mnt"
}

@test "smollm2-135m-gptq-4bit-g64" { real smollm2-135m-gptq-4bit-g64; }
@test "tiny-llama-2b-g32-asym" { real tiny-llama-2b-g32-asym; }
@test "tiny-llama-3b-g32-asym" { real tiny-llama-3b-g32-asym; }
@test "tiny-llama-4b-dynamic" { real tiny-llama-4b-dynamic; }
@test "tiny-llama-4b-g128-ragged" { real tiny-llama-4b-g128-ragged; }
@test "tiny-llama-4b-g32-asym" { real tiny-llama-4b-g32-asym; }
@test "tiny-llama-4b-g32-asym-act" { real tiny-llama-4b-g32-asym-act; }
@test "tiny-llama-4b-g32-asym-v2" { real tiny-llama-4b-g32-asym-v2; }
@test "tiny-llama-4b-g32-autoround" { real tiny-llama-4b-g32-autoround; }
@test "tiny-llama-4b-g32-shard" { real tiny-llama-4b-g32-shard; }
@test "tiny-llama-4b-g32-sym" { real tiny-llama-4b-g32-sym; }
@test "tiny-llama-4b-gm1-sym" { real tiny-llama-4b-gm1-sym; }
@test "tiny-llama-5b-planar" { real tiny-llama-5b-planar; }
@test "tiny-llama-8b-g64-sym" { real tiny-llama-8b-g64-sym; }
@test "tiny-llamabf16-4b-g32-asym" { real tiny-llamabf16-4b-g32-asym; }
@test "tiny-phi3-4b-g32" { real tiny-phi3-4b-g32; }
@test "tiny-qwen2-4b-g64-asym" { real tiny-qwen2-4b-g64-asym; }
@test "tiny-qwen3moe-4b-g32-asym-act" { real tiny-qwen3moe-4b-g32-asym-act; }

@test "all checkpoints are tested here" {
	for dir in "$TESTS"/data/models/*/ "$ROOT"/../shared/models/*/; do
		[[ ! -d $dir ]] || grep -q " $(basename "$dir"); }\$" "$BATS_TEST_FILENAME" || fail "no test for $dir"
	done
}

@test "the plain C code gives the same" {
	GPTQFS_CPU=c real tiny-llama-4b-g32-asym-act
}

@test "made here: zeros of 0 with their borrow" { synthetic plain; }
@test "made here: v2 zeros" { synthetic v2; }
@test "made here: act-order" { synthetic act_order; }
@test "made here: a g_idx that was never filled in" { synthetic placeholder_g_idx; }
@test "made here: a g_idx that leaves groups unused" {
	synthetic unused_group
	grep -q '^Warning: *1 module (the first: model.layers.0.mlp.up_proj): g_idx leaves groups unused' "$mnt/info"
}
@test "made here: one group" { synthetic one_group; }
@test "made here: a short last group" { synthetic ragged; }
@test "made here: no g_idx" { synthetic no_g_idx; }
@test "made here: a short last group, no g_idx" { synthetic ragged_no_g_idx; }
@test "made here: no qzeros" { synthetic no_qzeros; }
@test "made here: v2 zeros that no file labels, by the user's word" {
	make_checkpoint unlabelled_v2
	mount_model -o zeros=v2 "$model" "$mnt"
	compare_views "$mnt"
	grep -q "^Checkpoint_format: *gptq_v2 (given as -o zeros=v2)$" "$mnt/info"
	unmount "$mnt"
	# A label in the file counts, and contradicting it is a usage error.
	run -1 "$GPTQFS" -o zeros=v9 "$model" "$mnt"
	[[ $output = *"zeros=v9"*"v1 or v2"* ]]
	rm -r "$model"
	make_checkpoint plain
	run -1 "$GPTQFS" -o zeros=v2 "$model" "$mnt"
	[[ $output = *"zeros=v2"*quantize_config.json*gptq* ]]
}
@test "made here: v2 zeros under AutoRound's older label" { synthetic autoround_backend; }
@test "made here: the configuration deep in config.json" { synthetic nested_config; }
@test "made here: biases" { synthetic biases; }
@test "made here: a tied head" { synthetic tied_head; }
@test "made here: BF16 scales" { synthetic bf16_scales; }
@test "made here: F32 scales" { synthetic f32_scales; }
# repaired KIND WORDS: served as intended, and reported.
repaired() {
	synthetic "$1"
	grep -q "^Modules_repaired: *1$" "$mnt/info" && grep -q "^Warning: .*$2" "$mnt/info" || fail "$(cat "$mnt/info")"
}

@test "made here: v2 zeros under the label of v1" { repaired v2_zeros_as_v1 "gptq_v2 under the label gptq"; }
@test "made here: 3-bit zeros with reversed constants" { repaired reversed_3bit_zeros "reversed"; }
@test "made here: 8-bit zeros with the 4-bit constant" { repaired base_width_zeros "base width"; }
@test "made here: asymmetric 3-bit zeros with reversed constants" {
	synthetic reversed_3bit_asymmetric
	grep -q '^Warning: .*reversed constants .*as that version does' "$mnt/info"
	grep -q '^Packed_view: *- (.*zeros whose meaning depends on the version' "$mnt/info" || fail "$(cat "$mnt/info")"
}
@test "made here: asymmetric zeros with the constant of the base width" {
	synthetic base_width_asymmetric
	grep -q '^Modules_repaired: *2$' "$mnt/info"
	"$GPTQFS" --check "$model" >"$BATS_TEST_TMPDIR/out" || fail "$(cat "$BATS_TEST_TMPDIR/out")"
}
@test "made here: asymmetric zeros of later versions" { synthetic mended_asymmetric; }
@test "asymmetric 3-bit zeros of builds that may have written either" {
	make_checkpoint unsure_3bit_asymmetric
	refused q_proj.qzeros gptqmodel:6.1.0-dev gptq_v2
}
@test "made here: zeros of a module that is not symmetric are not repaired" { repaired asymmetric_module "gptq_v2"; }
@test "made here: all-zero biases that the architecture lacks" {
	synthetic zero_biases
	grep -q "^Warning: *1 module .*q_proj.*all-zero bias" "$mnt/info"
}
@test "made here: Conv1D and embeddings keep their orientation" { synthetic gpt2; }
@test "made here: embeddings are told by their size" { synthetic embeddings; }
@test "made here: Phi-3.5-MoE's experts by the names of the class" { synthetic phimoe; }
@test "made here: a tied head in text_config" {
	synthetic tied_in_text_config
	grep -q "^Warning: .*ties lm_head to the embedding.* language_model.lm_head:" "$mnt/info"
}
@test "made here: Mixtral's experts by the names of the class" { synthetic mixtral; }
@test "made here: gpt-oss, gate and up cut into columns interleaved" { synthetic gpt_oss_interleaved; }
@test "made here: gpt-oss, gate and up cut into halves" { synthetic gpt_oss_halves; }
@test "made here: gpt-oss, gate and up undivided, 12 experts" { synthetic gpt_oss_undivided; }
@test "made here: gpt-oss, experts that are not quantized" { synthetic gpt_oss_stored; }
@test "made here: Llama 4's experts in one tensor" { synthetic llama4; }
@test "made here: Granite's experts in one tensor, rows as they are" { synthetic granitemoe; }
@test "made here: Aria's experts in one tensor" { synthetic aria; }
@test "made here: Gemma 4's experts in one tensor" { synthetic gemma4; }

@test "experts in one tensor, read in pieces from many sides" {
	for kind in gpt_oss_interleaved llama4; do
		make_checkpoint $kind
		mount_model -o direct_io "$model" "$mnt"
		for view in fp16 fp32; do
			cp "$mnt/$view/model.safetensors" "$BATS_TEST_TMPDIR/copy"
			"$HAMMER" -x -s 3 "$mnt/$view/model.safetensors" "$BATS_TEST_TMPDIR/copy"
		done
		unmount "$mnt"
		rm -r "$model"
	done
}

# told KIND WORDS: served, with a warning.
told() {
	synthetic "$1"
	grep -q "^Warning: .*$2" "$mnt/info" || fail "$(cat "$mnt/info")"
}

@test "made here: Qwen3-VL's experts in one tensor, a square one" { told qwen3_vl_moe "gate_up_proj is square"; }
@test "made here: gpt-oss, and nothing says how it was cut" {
	told gpt_oss_unknown_cut "4 tensors of experts .*no transformers_version.*starts with random"
}
@test "made here: an expert is missing" { told missing_expert "5 tensors of experts .*gate_up_proj: up_proj.weight of expert 1 is missing"; }
@test "made here: experts of a class that is not known" { told unknown_experts "brand_new_moe"; }
@test "made here: a split MLP is joined" { synthetic joined_mlp; }
@test "made here: an F32 e_score_correction_bias stays F32" {
	synthetic router_bias
	compare_fused "$mnt"
	for pair in fp16=F16 bf16=BF16; do
		"$GPTQFS" --check --sha256 -o view="${pair%=*}" "$model" >"$BATS_TEST_TMPDIR/hashes"
		jq -e --slurpfile hashes "$BATS_TEST_TMPDIR/hashes" '. == $hashes[0]' "$model.${pair#*=}.json"
	done
	unmount "$mnt"
	mount_model -o dtype=bf16,view=tensors "$model" "$mnt"
	python3 -S "$TESTS/tools/tensors.py" "$mnt" "$model" "$model.BF16.json" "$model.F32.json"
	grep -qx 'Npy: *<f4 \[8\] (C order)' "$mnt/model/layers/0/mlp/gate/e_score_correction_bias.info"
}
@test "made here: rows of 64 KiB" { synthetic long_rows; }
@test "made here: a file of another name" { synthetic any_name; }
@test "made here: a part of a diffusers pipeline" {
	synthetic diffusers
	for view in fp16 bf16 fp32; do
		diff "$mnt/$view/config.json" "$model.config.$view.json"
		[[ $(ls "$mnt/$view") = *diffusion_pytorch_model.safetensors* && ! -e $mnt/$view/model.safetensors ]]
	done
	[[ -e $mnt/packed/diffusion_pytorch_model.safetensors ]]
}
@test "made here: only config.json tells" { synthetic only_config; }
@test "made here: shards, with modules across them" { synthetic sharded; }
@test "made here: shards in sub-directories" { synthetic sub_directories; }
@test "made here: a symbolic link inside the model" { synthetic symlink_inside; }
@test "made here: an entry of the Hugging Face cache" { synthetic hf_cache; }

@test "made here: a snapshot of the Hugging Face cache, with a sub-directory" {
	make_checkpoint hf_cache
	mount_model -o view=fp16 "$model"/snapshots/* "$mnt"
	compare_view "$mnt" F16
	[[ $(cat "$mnt/1_Pooling/config.json") = "{}" ]]
}

@test "made here: --check counts modules whose scales are all zero" {
	make_checkpoint zero_scales
	run -0 "$GPTQFS" --check "$model"
	[[ $output = *"Scales_all_zero:    1 (modules whose scales are all zero"* ]] || fail "$output"
}
