/* SPDX-License-Identifier: MIT */
#include "tensor/experts.h"

#include <stdlib.h>
#include <string.h>

/* ---- stacks ---- */

/* gate_up.#: GPTQModel 4.2 to 5.7 kept gate and up in one module; the renames of gpt_oss map other spellings to it. */
static const struct expert_stack gpt_oss[] = {
    {".mlp.experts.gate_up_proj", {".mlp.experts.#.gate_proj.weight", ".mlp.experts.#.up_proj.weight"},
	EXPERTS_COLUMNS_AS_CUT},
    {".mlp.experts.gate_up_proj_bias", {".mlp.experts.#.gate_proj.bias", ".mlp.experts.#.up_proj.bias"},
	EXPERTS_COLUMNS_AS_CUT},
    {".mlp.experts.down_proj", {".mlp.experts.#.down_proj.weight"}, EXPERTS_COLUMNS},
    {".mlp.experts.down_proj_bias", {".mlp.experts.#.down_proj.bias"}, EXPERTS_ROWS},
    {".mlp.experts.gate_up_proj", {".mlp.experts.gate_up.#.weight"}, EXPERTS_COLUMNS},
    {".mlp.experts.gate_up_proj_bias", {".mlp.experts.gate_up.#.bias"}, EXPERTS_ROWS},
    {".mlp.experts.down_proj", {".mlp.experts.down.#.weight"}, EXPERTS_COLUMNS},
    {".mlp.experts.down_proj_bias", {".mlp.experts.down.#.bias"}, EXPERTS_ROWS},
    {NULL, {NULL}, EXPERTS_ROWS},
};
static const struct expert_stack openai_privacy_filter[] = {
    {".mlp.experts.gate_up_proj", {".mlp.experts.#.gate_proj.weight", ".mlp.experts.#.up_proj.weight"},
	EXPERTS_COLUMNS},
    {".mlp.experts.gate_up_proj_bias", {".mlp.experts.#.gate_proj.bias", ".mlp.experts.#.up_proj.bias"}, EXPERTS_ROWS},
    {".mlp.experts.down_proj", {".mlp.experts.#.down_proj.weight"}, EXPERTS_COLUMNS},
    {".mlp.experts.down_proj_bias", {".mlp.experts.#.down_proj.bias"}, EXPERTS_ROWS},
    {NULL, {NULL}, EXPERTS_ROWS},
};
static const struct expert_stack llama4[] = {
    {".feed_forward.experts.gate_up_proj",
	{".feed_forward.experts.#.gate_proj.weight", ".feed_forward.experts.#.up_proj.weight"}, EXPERTS_COLUMNS},
    {".feed_forward.experts.down_proj", {".feed_forward.experts.#.down_proj.weight"}, EXPERTS_COLUMNS},
    {NULL, {NULL}, EXPERTS_ROWS},
};
static const struct expert_stack qwen3_vl_moe[] = {
    {".mlp.experts.gate_up_proj", {".mlp.experts.#.gate_proj.weight", ".mlp.experts.#.up_proj.weight"},
	EXPERTS_COLUMNS_UNLESS_SQUARE},
    {".mlp.experts.down_proj", {".mlp.experts.#.down_proj.weight"}, EXPERTS_COLUMNS_UNLESS_SQUARE},
    {NULL, {NULL}, EXPERTS_ROWS},
};
static const struct expert_stack aria[] = {
    {".mlp.experts.fc1.weight", {".mlp.experts.#.gate_proj.weight", ".mlp.experts.#.up_proj.weight"}, EXPERTS_COLUMNS},
    {".mlp.experts.fc2.weight", {".mlp.experts.#.down_proj.weight"}, EXPERTS_COLUMNS},
    {NULL, {NULL}, EXPERTS_ROWS},
};
/* X.input_linear.#.linear: Defuser with a class ...ParallelExperts, in transformers 5 before about 5.20. */
static const struct expert_stack granitemoe[] = {
    {".block_sparse_moe.input_linear.weight",
	{".block_sparse_moe.experts.#.gate_proj.weight", ".block_sparse_moe.experts.#.up_proj.weight"}, EXPERTS_ROWS},
    {".block_sparse_moe.output_linear.weight", {".block_sparse_moe.experts.#.down_proj.weight"}, EXPERTS_ROWS},
    {".input_linear.weight", {".input_linear.#.linear.weight"}, EXPERTS_ROWS},
    {".output_linear.weight", {".output_linear.#.linear.weight"}, EXPERTS_ROWS},
    {".input_linear.weight", {".input_linear.#.weight"}, EXPERTS_ROWS},
    {".output_linear.weight", {".output_linear.#.weight"}, EXPERTS_ROWS},
    {NULL, {NULL}, EXPERTS_ROWS},
};
static const struct expert_stack jetmoe[] = {
    {".input_linear.weight", {".input_linear.#.linear.weight"}, EXPERTS_ROWS},
    {".output_linear.weight", {".output_linear.#.linear.weight"}, EXPERTS_ROWS},
    {NULL, {NULL}, EXPERTS_ROWS},
};
/* Classes found only in transformers 5, under their in-memory names. */
static const struct expert_stack plain[] = {
    {".experts.gate_up_proj", {".experts.#.gate_proj.weight", ".experts.#.up_proj.weight"}, EXPERTS_ROWS},
    {".experts.down_proj", {".experts.#.down_proj.weight"}, EXPERTS_ROWS},
    {NULL, {NULL}, EXPERTS_ROWS},
};

/* ---- classes ---- */

static const struct expert_class classes[] = {
    {"gpt_oss", "num_local_experts", gpt_oss},
    {"openai_privacy_filter", "num_local_experts", openai_privacy_filter},
    {"llama4", "num_local_experts", llama4},
    {"llama4_text", "num_local_experts", llama4},
    {"qwen3_vl_moe", "num_experts", qwen3_vl_moe},
    {"qwen3_vl_moe_text", "num_experts", qwen3_vl_moe},
    {"aria", "moe_num_experts", aria},
    {"aria_text", "moe_num_experts", aria},
    {"granitemoe", "num_local_experts", granitemoe},
    {"granitemoeshared", "num_local_experts", granitemoe},
    {"granitemoehybrid", "num_local_experts", granitemoe},
    {"jetmoe", "num_local_experts", jetmoe},
    {"diffusion_gemma", NULL, plain},
    {"gemma4", "num_experts", plain},
    {"gemma4_text", "num_experts", plain},
    {"granitemoe_swa", "num_local_experts", plain},
    {"hy_v4", NULL, plain},
    {"hy_v4_vl", NULL, plain},
    {"inkling_mm_model", NULL, plain},
    {"inkling_text", NULL, plain},
    {"inkling2", NULL, plain},
    {"inkling2_text", NULL, plain},
    {"lara_mini", NULL, plain},
    {"mistral4", "n_routed_experts", plain},
    {"muse_spark", NULL, plain},
    {"step3p7", NULL, plain},
    {"zaya", NULL, plain},
};

/*
 * Classes with a module per expert in transformers 4, and those whose converters in transformers 5 expect that. The
 * last lines are classes that come with their models.
 */
static const char *const one_by_one[] = {"afmoe", "axk1", "axk2", "bailing_hybrid", "beam", "cohere2_moe",
    "deepseek_ocr2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4", "dots1", "dots3_note",
    "dots3_note_text", "ernie4_5_moe", "ernie4_5_vl_moe", "exaone_moe", "flex_olmo", "flint", "glm4_moe",
    "glm4_moe_lite", "glm4v_moe", "glm5_next", "glm_moe_dsa", "hunyuan_v1_moe", "hy_v3", "jamba", "kimi_linear",
    "kolibri1", "laguna", "lfm2_moe", "longcat_flash", "mellum", "mimo_v2_flash", "minimax", "minimax_m2",
    "minimax_m3_vl", "mistral_large4", "mixtral", "nemotron_h", "nemotron_h_omni", "olmoe", "phimoe", "qwen2_moe",
    "qwen3_5_moe", "qwen3_5_moe_text", "qwen3_moe", "qwen3_next", "qwen3_omni_moe", "qwen4_exp", "sarvam_mla",
    "sarvam_moe", "solar_open", "unlimited_ocr",
    /* code of the model */
    "bailing_moe", "dbrx_converted", "deepseek_vl_v2", "grinmoe", "kimi_k2", "kimi_k25", "klear", "llada2_moe",
    "mimo_v2"};

/* Where configurations have that of the text model. */
static const char *const texts[] = {"text_config", "llm_config", "language_config", "thinker_config"};
#define TEXTS (sizeof(texts) / sizeof(*texts))

static const struct expert_class *class_of(const char *model_type)
{
	static const struct expert_class single = {"", NULL, NULL};

	for (size_t i = 0; i < sizeof(classes) / sizeof(*classes); i++)
		if (strcmp(classes[i].model_type, model_type) == 0)
			return &classes[i];
	for (size_t i = 0; i < sizeof(one_by_one) / sizeof(*one_by_one); i++)
		if (strcmp(one_by_one[i], model_type) == 0)
			return &single;
	return NULL;
}

const struct expert_class *experts_find(const struct json *config)
{
	const char *type = json_str(json_get(config, "model_type"));
	const struct expert_class *class = type ? class_of(type) : NULL;

	for (size_t i = 0; !class && i < TEXTS; i++) {
		type = json_str(json_get(json_get(config, texts[i]), "model_type"));
		class = type ? class_of(type) : NULL;
	}
	return class;
}

uint64_t experts_count(const struct expert_class *class, const struct json *config)
{
	int64_t count = 0;

	if (!class->count)
		return 0;
	for (size_t i = 0; count <= 0 && i < TEXTS; i++)
		json_integer(json_get(json_get(config, texts[i]), class->count), &count);
	if (count <= 0)
		json_integer(json_get(config, class->count), &count);
	return count > 0 ? (uint64_t)count : 0;
}

/* Finds the version of AutoRound, 10 for 0.10.2. Returns false if there is none. */
static bool autoround_version(const struct json *config, long *minor)
{
	const char *version = json_str(json_get(json_get(config, "quantization_config"), "autoround_version"));

	if (!version || version[0] != '0' || version[1] != '.')
		return false;
	*minor = strtol(version + 2, NULL, 10);
	return true;
}

enum experts_cut experts_cut_of(const struct json *config, const char *producer)
{
	const char *version = json_str(json_get(config, "transformers_version"));
	long major = version ? strtol(version, NULL, 10) : 0, minor;

	if (producer && strncmp(producer, "gptqmodel", strlen("gptqmodel")) == 0)
		return CUT_HALVES;
	if (autoround_version(config, &minor) && minor < 10)
		return CUT_INTERLEAVED;
	return major >= 5 ? CUT_HALVES : major >= 4 ? CUT_INTERLEAVED : CUT_UNKNOWN;
}
