/* SPDX-License-Identifier: MIT */
#include "quant/mlx_models.h"

#include <stdbool.h>
#include <string.h>

static const char *const unchanged[] = {"cohere", "cohere2", "ernie4_5", "exaone", "exaone4", "gemma", "gemma2",
    "gemma3_text", "glm", "glm4", "granite", "helium", "hunyuan_v1_dense", "internlm2", "internlm3", "llama", "minicpm",
    "minicpm3", "mistral", "nemotron", "olmo", "olmo2", "olmo3", "phi", "phi3", "qwen", "qwen2", "qwen3", "seed_oss",
    "smollm3", "stablelm", "starcoder2", "youtu_llm", NULL};
static const char *const with_experts[] = {"deepseek", "deepseek_v2", "ernie4_5_moe", "exaone_moe", "glm4_moe",
    "mellum", "olmoe", "qwen2_moe", "qwen3_moe", NULL};
static const char *const like_mixtral[] = {"mixtral", "phimoe", NULL};

const char *const mlx_expert_layer[MLX_CHANGES] = {[MLX_EXPERTS] = ".mlp", [MLX_MIXTRAL] = ".block_sparse_moe"};

const struct mlx_projection mlx_projections[MLX_CHANGES][MLX_PROJECTIONS] = {
    [MLX_EXPERTS] = {{"gate_proj", "gate_proj"}, {"down_proj", "down_proj"}, {"up_proj", "up_proj"}},
    [MLX_MIXTRAL] = {{"w1", "gate_proj"}, {"w2", "down_proj"}, {"w3", "up_proj"}},
};

static bool is_listed(const char *const *list, const char *name)
{
	while (*list && strcmp(*list, name) != 0)
		list++;
	return *list != NULL;
}

enum mlx_change mlx_change_of(const char *model_type)
{
	if (!model_type)
		return MLX_OTHER;
	if (is_listed(unchanged, model_type))
		return MLX_NONE;
	if (strcmp(model_type, "apertus") == 0)
		return MLX_APERTUS;
	if (is_listed(with_experts, model_type))
		return MLX_EXPERTS;
	return is_listed(like_mixtral, model_type) ? MLX_MIXTRAL : MLX_OTHER;
}
