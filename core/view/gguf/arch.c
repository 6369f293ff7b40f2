/* SPDX-License-Identifier: MIT */
#include "view/gguf/arch.h"

#include <string.h>

static const struct gguf_place place_attention[] = {
    {.from = "input_layernorm", .to = "attn_norm", .kind = GGUF_NORM},
    {.from = "self_attn.q_proj", .to = "attn_q", .rows = GGUF_ROPE_Q, .qkv = true},
    {.from = "self_attn.k_proj", .to = "attn_k", .rows = GGUF_ROPE_K, .qkv = true},
    {.from = "self_attn.v_proj", .to = "attn_v", .qkv = true},
    {.from = "self_attn.o_proj", .to = "attn_output"},
    {0},
};
static const struct gguf_place place_qk_norms[] = {
    {.from = "self_attn.q_norm", .to = "attn_q_norm", .kind = GGUF_NORM},
    {.from = "self_attn.k_norm", .to = "attn_k_norm", .kind = GGUF_NORM},
    {0},
};
static const struct gguf_place place_ffn_norm[] = {
    {.from = "post_attention_layernorm", .to = "ffn_norm", .kind = GGUF_NORM},
    {0},
};
static const struct gguf_place place_ffn[] = {
    {.from = "mlp.gate_proj", .to = "ffn_gate"},
    {.from = "mlp.up_proj", .to = "ffn_up"},
    {.from = "mlp.down_proj", .to = "ffn_down"},
    {0},
};
static const struct gguf_place place_mixtral[] = {
    {.from = "block_sparse_moe.gate", .to = "ffn_gate_inp", .kind = GGUF_ROUTER},
    {.from = "block_sparse_moe.experts.#.w1", .to = "ffn_gate_exps"},
    {.from = "block_sparse_moe.experts.#.w3", .to = "ffn_up_exps"},
    {.from = "block_sparse_moe.experts.#.w2", .to = "ffn_down_exps"},
    {0},
};
static const struct gguf_place place_experts[] = {
    {.from = "mlp.gate", .to = "ffn_gate_inp", .kind = GGUF_ROUTER},
    {.from = "mlp.experts.#.gate_proj", .to = "ffn_gate_exps"},
    {.from = "mlp.experts.#.up_proj", .to = "ffn_up_exps"},
    {.from = "mlp.experts.#.down_proj", .to = "ffn_down_exps"},
    {0},
};
static const struct gguf_place place_shared[] = {
    {.from = "mlp.shared_expert_gate", .to = "ffn_gate_inp_shexp", .kind = GGUF_ROUTER},
    {.from = "mlp.shared_expert.gate_proj", .to = "ffn_gate_shexp"},
    {.from = "mlp.shared_expert.up_proj", .to = "ffn_up_shexp"},
    {.from = "mlp.shared_expert.down_proj", .to = "ffn_down_shexp"},
    {0},
};
/* GPTQModel saves gate and up separately. */
static const struct gguf_place place_phi3[] = {
    {.from = "input_layernorm", .to = "attn_norm", .kind = GGUF_NORM},
    {.from = "self_attn.qkv_proj", .to = "attn_qkv"},
    {.from = "self_attn.o_proj", .to = "attn_output"},
    {.from = "post_attention_layernorm", .to = "ffn_norm", .kind = GGUF_NORM},
    {.from = "mlp.gate_up_proj", .to = "ffn_up", .halves = {"mlp.gate_proj", "mlp.up_proj"}},
    {.from = "mlp.down_proj", .to = "ffn_down"},
    {0},
};
static const struct gguf_place place_gemma[] = {
    {.from = "post_attention_layernorm", .to = "post_attention_norm", .kind = GGUF_NORM},
    {.from = "pre_feedforward_layernorm", .to = "ffn_norm", .kind = GGUF_NORM},
    {.from = "mlp.gate_proj", .to = "ffn_gate"},
    {.from = "mlp.up_proj", .to = "ffn_up"},
    {.from = "mlp.down_proj", .to = "ffn_down"},
    {.from = "post_feedforward_layernorm", .to = "post_ffw_norm", .kind = GGUF_NORM},
    {0},
};

static const struct gguf_place *const llama[] = {place_attention, place_ffn_norm, place_ffn, NULL};
static const struct gguf_place *const mixtral[] = {place_attention, place_ffn_norm, place_mixtral, NULL};
static const struct gguf_place *const qwen3[] = {place_attention, place_qk_norms, place_ffn_norm, place_ffn, NULL};
static const struct gguf_place *const qwen2_moe[] = {
    place_attention, place_ffn_norm, place_experts, place_shared, NULL};
static const struct gguf_place *const qwen3_moe[] = {
    place_attention, place_qk_norms, place_ffn_norm, place_experts, NULL};
static const struct gguf_place *const phi3[] = {place_phi3, NULL};
static const struct gguf_place *const gemma2[] = {place_attention, place_gemma, NULL};
static const struct gguf_place *const gemma3[] = {place_attention, place_gemma, place_qk_norms, NULL};

static const struct gguf_arch archs[] = {
    {"LlamaForCausalLM", "llama", 2048, 1e-6, 0, GGUF_BIAS_LINEAR, true, false, false, llama},
    {"MistralForCausalLM", "llama", 2048, 1e-6, 0, GGUF_BIAS_LINEAR, true, false, false, llama},
    {"MixtralForCausalLM", "llama", 2048, 1e-6, 0, GGUF_BIAS_LINEAR, true, false, true, mixtral},
    {"Qwen2ForCausalLM", "qwen2", 32768, 1e-6, 0, GGUF_BIAS_QKV, false, false, false, llama},
    {"Qwen3ForCausalLM", "qwen3", 32768, 1e-6, 128, GGUF_BIAS_NEVER, false, false, false, qwen3},
    {"Qwen2MoeForCausalLM", "qwen2moe", 32768, 1e-6, 0, GGUF_BIAS_QKV, false, false, true, qwen2_moe},
    {"Qwen3MoeForCausalLM", "qwen3moe", 32768, 1e-6, 0, GGUF_BIAS_NEVER, false, false, true, qwen3_moe},
    {"Phi3ForCausalLM", "phi3", 4096, 1e-5, 0, GGUF_BIAS_NEVER, false, false, false, phi3},
    {"Gemma2ForCausalLM", "gemma2", 8192, 1e-6, 256, GGUF_BIAS_NEVER, false, true, false, gemma2},
    {"Gemma3ForCausalLM", "gemma3", 131072, 1e-6, 256, GGUF_BIAS_NEVER, false, true, false, gemma3},
};

const struct gguf_arch *gguf_arch_find(const char *class)
{
	for (size_t i = 0; i < sizeof(archs) / sizeof(*archs); i++)
		if (strcmp(class, archs[i].class) == 0)
			return &archs[i];
	return NULL;
}
