/* SPDX-License-Identifier: MIT */
#include "view/phi3.h"

#include <stdlib.h>
#include <string.h>

/* Sources: configuration_ and modeling_{llama,mistral,phi3}.py of transformers 4.57.6 and 5.24.0. */

struct shape {
	int64_t layers, hidden, intermediate, heads, key_value_heads, positions;
	bool mistral;
};

static bool is_absent(const struct json *value)
{
	return !value || json_is_null(value);
}

static bool is_one(const struct json *value)
{
	int64_t n;

	return is_absent(value) || (json_integer(value, &n) && n == 1);
}

static bool names_class(const struct json *config, const char *model_type, const char *class)
{
	const struct json *architectures = json_get(config, "architectures");
	const char *type = json_str(json_get(config, "model_type")), *name = json_str(json_at(architectures, 0));

	return type && name && json_count(architectures) == 1 && strcmp(type, model_type) == 0 &&
	       strcmp(name, class) == 0;
}

/* Phi-3 has other defaults, so members that both classes read must be explicit. */
static const char *phi3_read_shape(const struct json *config, struct shape *s)
{
	const struct {
		const char *key;
		int64_t *n;
	} fields[] = {{"num_hidden_layers", &s->layers}, {"hidden_size", &s->hidden},
	    {"intermediate_size", &s->intermediate}, {"num_attention_heads", &s->heads},
	    {"max_position_embeddings", &s->positions}};
	const int64_t most = (int64_t)1 << 31;
	int64_t n;

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (!json_integer(json_get(config, fields[i].key), fields[i].n) || *fields[i].n < 1 ||
		    *fields[i].n > most)
			return "config.json does not give all sizes";
	s->key_value_heads = s->heads;
	if (json_integer(json_get(config, "num_key_value_heads"), &n) && n > 0 && n <= s->heads)
		s->key_value_heads = n;
	else if (s->mistral || !is_absent(json_get(config, "num_key_value_heads")))
		return "config.json does not give num_key_value_heads";
	if (!json_integer(json_get(config, "vocab_size"), &n) || is_absent(json_get(config, "rms_norm_eps")))
		return "config.json does not give vocab_size or rms_norm_eps";
	if (s->hidden % s->heads)
		return "hidden_size is not a multiple of num_attention_heads";
	if (!is_absent(json_get(config, "head_dim")) &&
	    (!json_integer(json_get(config, "head_dim"), &n) || n != s->hidden / s->heads))
		return "head_dim is not hidden_size / num_attention_heads, as readers of Phi-3 assume";
	return NULL;
}

/* Phi-3 has only the plain rotary embedding and a longrope that scales in its own way. */
static bool has_plain_rope(const struct json *config)
{
	const struct json *p = json_get(config, "rope_parameters");
	const char *type = json_str(json_get(p, "rope_type"));

	if (!is_absent(json_get(config, "rope_scaling")) || !is_one(json_get(config, "partial_rotary_factor")))
		return false;
	if (is_absent(p))
		return true;
	for (const struct json *m = json_is_object(p) ? json_first(p) : NULL; m; m = json_after(m))
		if (strcmp(json_key(m), "rope_type") != 0 && strcmp(json_key(m), "type") != 0 &&
		    strcmp(json_key(m), "rope_theta") != 0 && strcmp(json_key(m), "partial_rotary_factor") != 0)
			return false;
	return json_is_object(p) && (!type || strcmp(type, "default") == 0) &&
	       is_one(json_get(p, "partial_rotary_factor"));
}

static const char *phi3_examine_config(const struct json *config, struct shape *s)
{
	const char *reason;

	s->mistral = names_class(config, "mistral", "MistralForCausalLM");
	if (!s->mistral && !names_class(config, "llama", "LlamaForCausalLM"))
		return "it is neither LlamaForCausalLM nor MistralForCausalLM";
	if (json_get(config, "auto_map"))
		return "it brings classes of its own (auto_map)";
	if (json_bool(json_get(config, "attention_bias"), false) || json_bool(json_get(config, "mlp_bias"), false))
		return "its class has biases";
	if (!is_one(json_get(config, "pretraining_tp")))
		return "its class adds partial sums (pretraining_tp)";
	if (!is_absent(json_get(config, "layer_types")))
		return "its layers are of several types (layer_types)";
	if (!s->mistral && !is_absent(json_get(config, "sliding_window")))
		return "its class ignores sliding_window, and Phi-3 does not";
	reason = phi3_read_shape(config, s);
	if (!reason && !has_plain_rope(config))
		reason = "its rotary embedding is scaled or partial";
	return reason;
}

/* ---- tensors ---- */

static const char *const of_layer[] = {"input_layernorm.weight", "mlp.down_proj.weight", "mlp.gate_up_proj.weight",
    "post_attention_layernorm.weight", "self_attn.o_proj.weight", "self_attn.qkv_proj.weight"};

#define OF_LAYER (sizeof(of_layer) / sizeof(*of_layer))

/* Returns the index of a layer's tensor in of_layer, or -1. */
static int part_of_layer(const char *name, int64_t layers)
{
	static const char prefix[] = "model.layers.";
	char *end;
	long layer;

	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return -1;
	name += sizeof(prefix) - 1;
	if (*name < '0' || *name > '9')
		return -1;
	layer = strtol(name, &end, 10);
	for (size_t i = 0; layer < layers && *end == '.' && i < OF_LAYER; i++)
		if (strcmp(end + 1, of_layer[i]) == 0)
			return (int)i;
	return -1;
}

static bool is_outside_layers(const char *name)
{
	return strcmp(name, "model.embed_tokens.weight") == 0 || strcmp(name, "model.norm.weight") == 0 ||
	       strcmp(name, "lm_head.weight") == 0 || ends_with(name, ".rotary_emb.inv_freq");
}

static bool has_shape(const struct tensor *t, int64_t rows, int64_t columns)
{
	return t->ndim == 2 && t->shape[0] == (uint64_t)rows && t->shape[1] == (uint64_t)columns;
}

static const char *examine_tensors(const struct tensors *ts, const struct shape *s, struct arena *arena)
{
	const int64_t head = s->hidden / s->heads;
	int64_t found = 0;
	const char *reason;

	for (size_t i = 0; i < ts->count; i++) {
		const struct tensor *t = &ts->list[i];
		const int part = part_of_layer(t->name, s->layers);

		if (part < 0 && is_outside_layers(t->name))
			continue;
		if (part < 0 || (part == 2 && !has_shape(t, 2 * s->intermediate, s->hidden)) ||
		    (part == 5 && !has_shape(t, (s->heads + 2 * s->key_value_heads) * head, s->hidden))) {
			reason = arena_printf(arena, "its %.200s differs from Phi-3's", t->name);
			return reason ? reason : "";
		}
		found++;
	}
	return found == s->layers * (int64_t)OF_LAYER ? NULL : "layers lack tensors that Phi-3 has";
}

/* ---- the configuration ---- */

static void add_member(struct phi3 *p, const char *key, const char *value)
{
	p->members[p->count++] = (struct config_member){.key = key, .value = value};
}

const char *phi3_refusal(const struct tensors *fused, const struct json *config, struct arena *arena, struct phi3 *out)
{
	/* Defaults of the other two classes. */
	static const struct config_member defaults[] = {{.key = "bos_token_id", .value = "1"},
	    {.key = "eos_token_id", .value = "2"}, {.key = "pad_token_id", .value = "null"}};
	struct shape s = {0};
	const char *reason;

	*out = (struct phi3){0};
	if (names_class(config, "phi3", "Phi3ForCausalLM"))
		return NULL;
	reason = phi3_examine_config(config, &s);
	if (!reason)
		reason = examine_tensors(fused, &s, arena);
	if (reason)
		return reason;
	snprintf(out->positions, sizeof(out->positions), "%lld", (long long)s.positions);
	snprintf(out->head_dim, sizeof(out->head_dim), "%lld", (long long)(s.hidden / s.heads));
	add_member(out, "architectures", "[\"Phi3ForCausalLM\"]");
	add_member(out, "model_type", "\"phi3\"");
	add_member(out, "partial_rotary_factor", "1.0");
	/* Beyond this length Phi-3 drops its cache, for the sake of longrope. */
	add_member(out, "original_max_position_embeddings", out->positions);
	if (json_get(config, "head_dim"))
		add_member(out, "head_dim", out->head_dim);
	if (s.mistral && !json_get(config, "sliding_window"))
		add_member(out, "sliding_window", "4096");
	for (size_t i = 0; i < sizeof(defaults) / sizeof(*defaults); i++)
		if (!json_get(config, defaults[i].key))
			add_member(out, defaults[i].key, defaults[i].value);
	return NULL;
}
