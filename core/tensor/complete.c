/* SPDX-License-Identifier: MIT */
#include "tensor/complete.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

/* ---- what the configuration says ---- */

/* Returns the configuration of the text model: in a model of several parts, that of the one whose layers count. */
static const struct json *text_config(const struct json *config)
{
	static const char *const parts[] = {
	    "text_config", "llm_config", "language_config", "thinker_config", "language_model_config"};

	for (int depth = 0; depth < 4; depth++) {
		const struct json *inner = NULL;

		for (size_t i = 0; !inner && i < sizeof(parts) / sizeof(*parts); i++)
			if (json_is_object(json_get(config, parts[i])))
				inner = json_get(config, parts[i]);
		if (!inner)
			break;
		config = inner;
	}
	return config;
}

static int64_t count_layers(const struct json *config)
{
	static const char *const keys[] = {"num_hidden_layers", "n_layer"};
	int64_t n;

	for (size_t i = 0; i < 2; i++)
		if (json_integer(json_get(config, keys[i]), &n) && n > 0)
			return n;
	return 0;
}

/* ---- the layers there are ---- */

/* The layers of the text model in known classes; those of vision towers and encoders differ. */
static const char *const stacks[] = {"model.layers.", "model.language_model.layers.", "language_model.model.layers.",
    "model.text_model.layers.", "thinker.model.layers.", "transformer.h.", "gpt_neox.layers.", "backbone.layers.",
    "model.decoder.layers."};

/* A tensor of a layer: "mlp.up_proj.weight" of "model.layers.7.mlp.up_proj.weight". */
struct member {
	const char *suffix;
	uint64_t layer;
};

struct stack {
	const char *prefix;
	uint64_t layers; /* according to the configuration */
	struct member *members;
	size_t count;
};

static bool read_member(const char *prefix, const char *name, struct member *out)
{
	const size_t len = strlen(prefix);
	char *end;

	if (strncmp(name, prefix, len) != 0 || name[len] < '0' || name[len] > '9')
		return false;
	out->layer = strtoull(name + len, &end, 10);
	out->suffix = end + 1;
	return *end == '.';
}

static bool read_stack(const struct tensors *ts, struct stack *s)
{
	for (size_t i = 0; !s->count && i < sizeof(stacks) / sizeof(*stacks); i++) {
		s->prefix = stacks[i];
		for (size_t k = 0; k < ts->count; k++)
			/* Layers for multi-token prediction follow the counted ones. */
			if (read_member(s->prefix, ts->list[k].name, &s->members[s->count]) &&
			    s->members[s->count].layer < s->layers)
				s->count++;
	}
	return s->count > 0;
}

static int by_layer(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	return x->layer < y->layer ? -1 : x->layer > y->layer;
}

static int by_suffix(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	const int order = strcmp(x->suffix, y->suffix);

	return order ? order : by_layer(a, b);
}

static int refuse_gap(const struct checkpoint *c, struct stack *s, struct gptqfs_error *err)
{
	uint64_t next = 0;

	qsort(s->members, s->count, sizeof(*s->members), by_layer);
	for (size_t i = 0; i < s->count && s->members[i].layer <= next; i++)
		next = s->members[i].layer + 1;
	if (next >= s->layers)
		return 0;
	return err_set(err, -EBADMSG,
	    "%s: there is no tensor of %s%llu, but config.json says %llu layers; a file of the weights is missing: fetch "
	    "the model again",
	    c->dir.path, s->prefix, (unsigned long long)next, (unsigned long long)s->layers);
}

/* ---- what lies around them ---- */

/* Classes that have PREFIX.embed_tokens.weight and PREFIX.norm.weight beside PREFIX.layers. */
static bool needs_both(const struct json *config)
{
	static const char *const types[] = {"llama", "mistral", "mixtral", "qwen2", "qwen2_moe", "qwen3", "qwen3_moe",
	    "gemma", "gemma2", "gemma3_text", "phi3", "deepseek_v2", "deepseek_v3", "granite", "olmo2", "cohere",
	    "cohere2", "glm", "glm4", "glm4_moe", "starcoder2", "stablelm", "minimax", "minimax_m2", "phimoe"};
	const char *type = json_str(json_get(config, "model_type"));

	for (size_t i = 0; type && i < sizeof(types) / sizeof(*types); i++)
		if (strcmp(type, types[i]) == 0)
			return true;
	return false;
}

static int refuse_incomplete(const struct checkpoint *c, const struct tensors *ts, const struct stack *s,
    struct gptqfs_error *err)
{
	static const char *const wanted[] = {"embed_tokens.weight", "norm.weight"};
	const int len = (int)(strlen(s->prefix) - strlen("layers."));
	char name[128];

	if (!ends_with(s->prefix, "layers."))
		return 0;
	for (size_t i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "%.*s%s", len, s->prefix, wanted[i]);
		if (!tensors_find(ts, name))
			return err_set(err, -EBADMSG,
			    "%s: there is no tensor %s, which the model's class needs; a file of the weights is missing: fetch "
			    "the model again",
			    c->dir.path, name);
	}
	return 0;
}

/* ---- single tensors ---- */

/* An irregularity of a layer. */
struct oddity {
	const char *lacks; /* a tensor that all other layers have */
	bool other;        /* it has tensors that not all others have, so it is of another kind */
};

/* Returns the only layer that lacks the tensor of members [from, from + s->layers - 1). */
static uint64_t layer_without(const struct stack *s, size_t from)
{
	uint64_t layer = 0;

	while (layer < s->layers - 1 && s->members[from + layer].layer == layer)
		layer++;
	return layer;
}

static void find_oddities(const struct stack *s, struct oddity *odd)
{
	for (size_t i = 0, end; i < s->count; i = end) {
		for (end = i + 1; end < s->count && strcmp(s->members[end].suffix, s->members[i].suffix) == 0;)
			end++;
		if (end - i == s->layers - 1)
			odd[layer_without(s, i)].lacks = s->members[i].suffix;
		for (size_t k = i; end - i < s->layers - 1 && k < end; k++)
			odd[s->members[k].layer].other = true;
	}
}

static int warn_oddities(struct checkpoint *c, struct stack *s)
{
	struct oddity *odd = calloc(s->layers, sizeof(*odd));

	if (!odd)
		return -ENOMEM;
	qsort(s->members, s->count, sizeof(*s->members), by_suffix);
	find_oddities(s, odd);
	for (uint64_t i = 0; i < s->layers; i++)
		if (odd[i].lacks && !odd[i].other)
			checkpoint_warn(c,
			    "%s%llu lacks %.200s, which every other layer has: is a file of the weights missing?",
			    s->prefix, (unsigned long long)i, odd[i].lacks);
	free(odd);
	return 0;
}

int complete_check(struct checkpoint *c, const struct tensors *ts, struct gptqfs_error *err)
{
	const struct json *config = text_config(c->config_json);
	struct stack s = {.layers = (uint64_t)count_layers(config)};
	int rc = 0;

	/* Models from architecture search have layers that do nothing. */
	if (!s.layers || json_get(config, "block_configs") || json_bool(json_get(config, "is_encoder_decoder"), false))
		return 0;
	s.members = malloc((ts->count + 1) * sizeof(*s.members));
	if (!s.members)
		return err_memory(err);
	if (read_stack(ts, &s))
		rc = refuse_gap(c, &s, err);
	if (rc == 0 && s.count && needs_both(config))
		rc = refuse_incomplete(c, ts, &s, err);
	/*
	 * No layer is missing, so layers <= count, which bounds the allocation. Fewer than three layers show no
	 * pattern.
	 */
	if (rc == 0 && s.count && s.layers > 2 && warn_oddities(c, &s))
		rc = err_memory(err);
	free(s.members);
	return rc;
}
