/* SPDX-License-Identifier: MIT */
#include "tensor/architecture.h"

#include <string.h>

#include "file/listing.h"

/*
 * GPTQModel 7.0 and later splits gate_up_proj before quantizing, and saves the halves; without the joined tensor
 * transformers initializes a random one. Gate rows come first, except in Phi-4-multimodal's audio encoder.
 */
static const struct join_rule gate_up[] = {{".mlp.gate_up_proj", {".mlp.gate_proj", ".mlp.up_proj"}}, {0}};
static const struct join_rule gate_up_feed_forward[] = {
    {".feed_forward.gate_up_proj", {".feed_forward.gate_proj", ".feed_forward.up_proj"}}, {0}};
static const struct join_rule gate_up_phi4[] = {
    {".mlp.gate_up_proj", {".mlp.gate_proj", ".mlp.up_proj"}},
    {".feed_forward_in.gate_up_proj", {".feed_forward_in.up_proj", ".feed_forward_in.gate_proj"}},
    {".feed_forward_out.gate_up_proj", {".feed_forward_out.up_proj", ".feed_forward_out.gate_proj"}},
    {0},
};

/*
 * GPTQModel 5.8 and later saves experts under the in-memory names of transformers 5. All files on the Hub, the classes
 * of transformers 4 and the converters of transformers 5 use the older ones.
 */
static const struct rename_rule mixtral[] = {
    {".mlp.experts.", ".gate_proj.", ".w1."},
    {".mlp.experts.", ".up_proj.", ".w3."},
    {".mlp.experts.", ".down_proj.", ".w2."},
    {".mlp.experts.", ".mlp.experts.", ".block_sparse_moe.experts."},
    {".mlp.gate.", ".mlp.gate.", ".block_sparse_moe.gate."},
    {0},
};
static const struct rename_rule phimoe[] = {
    {".mlp.experts.", ".gate_proj.", ".w1."},
    {".mlp.experts.", ".up_proj.", ".w3."},
    {".mlp.experts.", ".down_proj.", ".w2."},
    {".mlp.experts.", ".mlp.experts.", ".block_sparse_moe.experts."},
    {".mlp.router.", ".mlp.router.", ".block_sparse_moe.gate."},
    {0},
};
static const struct rename_rule minimax_m2[] = {
    {".mlp.experts.", ".gate_proj.", ".w1."},
    {".mlp.experts.", ".up_proj.", ".w3."},
    {".mlp.experts.", ".down_proj.", ".w2."},
    {".mlp.experts.", ".mlp.experts.", ".block_sparse_moe.experts."},
    {".mlp.gate.", ".mlp.gate.", ".block_sparse_moe.gate."},
    {".mlp.e_score_correction_bias", ".mlp.", ".block_sparse_moe."},
    {0},
};
static const struct rename_rule lfm2_moe[] = {
    {".feed_forward.experts.", ".gate_proj.", ".w1."},
    {".feed_forward.experts.", ".up_proj.", ".w3."},
    {".feed_forward.experts.", ".down_proj.", ".w2."},
    {0},
};
/* As mlx-lm has it. */
static const struct rename_rule exaone_moe[] = {{".mlp.gate.e_score_correction_bias", ".mlp.gate.", ".mlp."}, {0}};
static const struct rename_rule ernie4_5_moe[] = {{".mlp.gate.moe_statics.", ".mlp.gate.", ".mlp."}, {0}};

/* Spellings of GPTQModel before 5.8, AutoRound 0.10, unsloth and llm-compressor before 0.10, unified for experts.c. */
static const struct rename_rule gpt_oss[] = {
    {".mlp.experts.", ".experts.experts.", ".experts."},
    {".mlp.experts.", ".gate_up_projs.", ".gate_up."},
    {".mlp.experts.", ".gate_up_proj.", ".gate_up."},
    {".mlp.experts.", ".down_projs.", ".down."},
    {".mlp.router.linear.", ".router.linear.", ".router."},
    {0},
};
/* The router in transformers 5; both versions read the older name. */
static const struct rename_rule granitemoe[] = {
    {".block_sparse_moe.router.weight", ".router.weight", ".router.layer.weight"}, {0}};

static const struct architecture architectures[] = {
    {"llama", BIAS_NONE, false, NULL, NULL},
    {"mistral", BIAS_NONE, false, NULL, NULL},
    {"mixtral", BIAS_NONE, false, NULL, mixtral},
    {"gpt_oss", BIAS_UNKNOWN, false, NULL, gpt_oss},
    {"granitemoe", BIAS_UNKNOWN, false, NULL, granitemoe},
    {"granitemoeshared", BIAS_UNKNOWN, false, NULL, granitemoe},
    {"granitemoehybrid", BIAS_UNKNOWN, false, NULL, granitemoe},
    {"phimoe", BIAS_UNKNOWN, false, NULL, phimoe},
    {"minimax", BIAS_UNKNOWN, false, NULL, mixtral},
    {"minimax_m2", BIAS_UNKNOWN, false, NULL, minimax_m2},
    {"lfm2_moe", BIAS_UNKNOWN, false, NULL, lfm2_moe},
    {"ernie4_5_moe", BIAS_UNKNOWN, false, NULL, ernie4_5_moe},
    {"exaone_moe", BIAS_UNKNOWN, false, NULL, exaone_moe},
    {"gemma", BIAS_NONE, false, NULL, NULL},
    {"gemma2", BIAS_NONE, false, NULL, NULL},
    {"gemma3", BIAS_NONE, false, NULL, NULL},
    {"gemma3_text", BIAS_NONE, false, NULL, NULL},
    {"qwen3", BIAS_NONE, false, NULL, NULL},
    {"qwen3_moe", BIAS_NONE, false, NULL, NULL},
    {"deepseek_v2", BIAS_NONE, false, NULL, NULL},
    {"deepseek_v3", BIAS_NONE, false, NULL, NULL},
    {"olmo", BIAS_NONE, false, NULL, NULL},
    {"olmo2", BIAS_NONE, false, NULL, NULL},
    {"cohere", BIAS_NONE, false, NULL, NULL},
    {"granite", BIAS_NONE, false, NULL, NULL},
    {"baichuan", BIAS_NONE, false, NULL, NULL},
    {"qwen2", BIAS_QKV, false, NULL, NULL},
    {"qwen2_moe", BIAS_QKV, false, NULL, NULL},
    {"phi3", BIAS_NONE, false, gate_up, NULL},
    {"phi4_multimodal", BIAS_UNKNOWN, false, gate_up_phi4, NULL},
    {"glm", BIAS_UNKNOWN, false, gate_up, NULL},
    {"glm4", BIAS_UNKNOWN, false, gate_up, NULL},
    {"glm4v", BIAS_UNKNOWN, false, gate_up, NULL},
    {"glm_image", BIAS_UNKNOWN, false, gate_up, NULL},
    {"glm_ocr", BIAS_UNKNOWN, false, gate_up, NULL},
    {"dia", BIAS_UNKNOWN, false, gate_up, NULL},
    {"zamba2", BIAS_UNKNOWN, false, gate_up_feed_forward, NULL},
    {"gpt2", BIAS_UNKNOWN, true, NULL, NULL},
    {"openai-gpt", BIAS_UNKNOWN, true, NULL, NULL},
    {"imagegpt", BIAS_UNKNOWN, true, NULL, NULL},
    {"decision_transformer", BIAS_UNKNOWN, true, NULL, NULL},
};

static const struct architecture unknown = {"", BIAS_UNKNOWN, false, NULL, NULL};

const struct architecture *architecture_find(const struct json *config)
{
	const struct json *places[] = {config, json_get(config, "text_config")};

	for (size_t p = 0; p < 2; p++) {
		const char *type = json_str(json_get(places[p], "model_type"));

		for (size_t i = 0; type && i < sizeof(architectures) / sizeof(*architectures); i++)
			if (strcmp(architectures[i].model_type, type) == 0)
				return &architectures[i];
	}
	return &unknown;
}

static const char *last_part(const char *module)
{
	const char *dot = strrchr(module, '.');

	return dot ? dot + 1 : module;
}

static bool any_of(const char *word, const char *const *words)
{
	while (*words && strcmp(word, *words) != 0)
		words++;
	return *words != NULL;
}

void architecture_biases(const struct json *config, struct biases *out)
{
	const struct json *text = json_get(config, "text_config");

	out->attention =
	    json_bool(json_get(config, "attention_bias"), false) || json_bool(json_get(text, "attention_bias"), false);
	out->mlp = json_bool(json_get(config, "mlp_bias"), false) || json_bool(json_get(text, "mlp_bias"), false);
}

bool architecture_has_bias(const struct architecture *a, const struct biases *biases, const char *module)
{
	static const char *const qkv[] = {"q_proj", "k_proj", "v_proj", NULL};

	if (a->bias == BIAS_UNKNOWN)
		return true;
	if (a->bias == BIAS_QKV)
		return any_of(last_part(module), qkv);
	return strstr(module, "attn") ? biases->attention : biases->mlp;
}

/* ---- embeddings ---- */

/* Real configurations nest three or four deep. */
#define CONFIG_DEPTH 8

static void note_size(int64_t *list, size_t *count, int64_t size)
{
	for (size_t i = 0; i < *count; i++)
		if (list[i] == size)
			return;
	if (*count < TABLES_MAX)
		list[(*count)++] = size;
}

static bool is_vocabulary(const char *key)
{
	return strstr(key, "vocab") || ends_with(key, "num_embeddings") || ends_with(key, "codebook_size");
}

static bool is_positions(const char *key)
{
	static const char *const keys[] = {"max_position_embeddings", "n_positions", "n_ctx", "max_target_positions",
	    "max_source_positions", "max_text_positions", NULL};

	return any_of(key, keys);
}

static bool is_width(const char *key)
{
	return !is_vocabulary(key) &&
	       (ends_with(key, "_size") || ends_with(key, "_dim") || ends_with(key, "d_model") ||
		   ends_with(key, "d_ff") || ends_with(key, "n_embd") || ends_with(key, "n_inner"));
}

static void walk_sizes(const struct json *config, int depth, struct tables *out, struct tables *widths)
{
	for (const struct json *m = json_is_object(config) ? json_first(config) : NULL; m; m = json_after(m)) {
		int64_t size;

		if (depth)
			walk_sizes(m, depth - 1, out, widths);
		if (!json_integer(m, &size) || size <= 0)
			continue;
		if (is_vocabulary(json_key(m)))
			note_size(out->vocabulary, &out->vocabularies, size);
		else if (is_positions(json_key(m)))
			note_size(out->positions, &out->position_counts, size);
		else if (is_width(json_key(m)))
			note_size(widths->vocabulary, &widths->vocabularies, size);
	}
}

static bool has_size(const int64_t *list, size_t count, int64_t size)
{
	for (size_t i = 0; i < count; i++)
		if (list[i] == size)
			return true;
	return false;
}

void architecture_tables(const struct json *config, struct tables *out)
{
	struct tables widths = {0};
	size_t kept = 0;

	*out = (struct tables){0};
	walk_sizes(config, CONFIG_DEPTH, out, &widths);
	for (size_t i = 0; i < out->vocabularies; i++)
		if (!has_size(widths.vocabulary, widths.vocabularies, out->vocabulary[i]))
			out->vocabulary[kept++] = out->vocabulary[i];
	out->vocabularies = kept;
}

/*
 * Quantizers treat an embedding as a Linear whose inputs are its rows, but its class does not transpose it. The head is
 * a real Linear with as many outputs.
 */
static bool is_embedding(const struct tables *t, struct linear l)
{
	static const char *const usual[] = {
	    "embed_tokens", "wte", "wpe", "word_embeddings", "embed_in", "tok_embeddings", "embed_positions", NULL};
	const char *name = last_part(l.module);

	/* Attention may be as wide as some vocabulary: its width is a product, which no configuration has. */
	if (ends_with(name, "_proj"))
		return false;
	if (has_size(t->vocabulary, t->vocabularies, l.in_features))
		return true;
	if (has_size(t->vocabulary, t->vocabularies, l.out_features))
		return false;
	/*
	 * OPT and its kin have two more rows. A table is often as large as a layer is wide, so the name is checked too.
	 */
	if (has_size(t->positions, t->position_counts, l.in_features) ||
	    has_size(t->positions, t->position_counts, l.in_features - 2))
		if (strstr(name, "position") || strcmp(name, "wpe") == 0)
			return true;
	return any_of(name, usual);
}

bool architecture_is_conv1d(const struct architecture *a, const char *module)
{
	static const char *const names[] = {"c_attn", "c_proj", "c_fc", "q_attn", NULL};

	return a->conv1d && any_of(last_part(module), names);
}

bool architecture_keeps_orientation(const struct architecture *a, const struct tables *tables, struct linear linear)
{
	return is_embedding(tables, linear) || architecture_is_conv1d(a, linear.module);
}

/* *said is set if any part says whether it does. */
static bool ties(const struct json *config, int depth, bool *said)
{
	const struct json *tied = json_get(config, "tie_word_embeddings");

	*said |= json_bool(tied, true) == json_bool(tied, false);
	if (json_bool(tied, false))
		return true;
	for (const struct json *m = depth && json_is_object(config) ? json_first(config) : NULL; m; m = json_after(m))
		if (json_is_object(m) && !strstr(json_key(m), "vision") && !strstr(json_key(m), "audio") &&
		    ties(m, depth - 1, said))
			return true;
	return false;
}

bool architecture_has_head(const struct json *config)
{
	const char *class = json_str(json_at(json_get(config, "architectures"), 0));

	return class && (ends_with(class, "ForCausalLM") || ends_with(class, "ForConditionalGeneration") ||
			    ends_with(class, "LMHeadModel"));
}

/* Classes that tie if config.json does not say otherwise; transformers leaves the member out if it is true then. */
static bool ties_by_default(const struct json *config)
{
	static const char *const types[] = {"gemma", "gemma2", "gemma3", "gemma3_text", "cohere", "cohere2", "gpt2",
	    "gpt_bigcode", "opt", "bloom", "falcon", "starcoder2", NULL};
	const char *type = json_str(json_get(config, "model_type"));

	return type && any_of(type, types) && architecture_has_head(config);
}

bool architecture_ties_head(const struct json *config, bool unsaid)
{
	bool said = false, tied = ties(config, CONFIG_DEPTH, &said);

	return said ? tied : unsaid || ties_by_default(config);
}

/* ---- names ---- */

const char *architecture_rename(const struct architecture *a, const char *name, struct arena *arena)
{
	for (const struct rename_rule *r = a->renames; r && r->from && name; r++) {
		const char *at = strstr(name, r->from);

		if (at && strstr(name, r->within))
			name = arena_printf(arena, "%.*s%s%s", (int)(at - name), name, r->to, at + strlen(r->from));
	}
	return name;
}

bool architecture_joins(const char *module)
{
	return !strstr(module, "visual.") && !strstr(module, "vision");
}
