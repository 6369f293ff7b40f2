/* SPDX-License-Identifier: MIT */
#include "view/gguf/hparams.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/err.h"

static bool is_arch(const struct gguf_hparams *h, const char *name)
{
	return strcmp(h->arch->name, name) == 0;
}

/* ---- members of config.json ---- */

/* Returns a member of text_config, or else of the top-level object; NULL if it is null or absent. */
static const struct json *member(const struct gguf_hparams *h, const char *key)
{
	const struct json *value = json_get(h->text, key);

	value = value ? value : json_get(h->root, key);
	return json_is_null(value) ? NULL : value;
}

static int bad_member(const char *key, const char *expected, struct gptqfs_error *err)
{
	return err_set(err, -EBADMSG, "config.json: \"%s\" is missing or invalid; expected %s", key, expected);
}

/* Reads a whole number of at most 31 bits. With a fallback it may be absent. */
static int read_u32(const struct json *value, const char *key, const uint32_t *fallback, uint32_t *out,
    struct gptqfs_error *err)
{
	int64_t number;

	if (!value && fallback) {
		*out = *fallback;
		return 0;
	}
	if (!json_integer(value, &number) || number < 0 || number > INT32_MAX)
		return bad_member(key, "a whole number of at most 31 bits", err);
	*out = (uint32_t)number;
	return 0;
}

static int member_u32(const struct gguf_hparams *h, const char *key, uint32_t *out, struct gptqfs_error *err)
{
	return read_u32(member(h, key), key, NULL, out, err);
}

static int read_double(const struct json *value, const char *key, double fallback, double *out,
    struct gptqfs_error *err)
{
	*out = fallback;
	if (!value)
		return 0;
	if (!json_number(value, out) || !isfinite(*out))
		return bad_member(key, "a number", err);
	return 0;
}

/* ---- rope ---- */

/* Returns a member of rope's configuration, or of config.json. */
static const struct json *rope_member(const struct gguf_hparams *h, const char *key)
{
	const struct json *value = json_get(h->scaling, key);

	return value && !json_is_null(value) ? value : member(h, key);
}

static int read_rope_type(struct gguf_hparams *h, struct gptqfs_error *err)
{
	static const struct {
		const char *name;
		enum gguf_rope rope;
	} types[] = {{"default", GGUF_ROPE_PLAIN}, {"linear", GGUF_ROPE_LINEAR}, {"yarn", GGUF_ROPE_YARN},
	    {"llama3", GGUF_ROPE_LLAMA3}, {"longrope", GGUF_ROPE_LONG}, {"su", GGUF_ROPE_LONG}};
	const char *type = json_str(json_get(h->scaling, "rope_type"));

	type = type ? type : json_str(json_get(h->scaling, "type"));
	type = type ? type : "default";
	for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++)
		if (strcmp(type, types[i].name) == 0 && (types[i].rope != GGUF_ROPE_LONG || is_arch(h, "phi3"))) {
			h->rope = types[i].rope;
			return 0;
		}
	return err_set(err, -ENOTSUP, "config.json: rope of type \"%.80s\" has no equivalent in a GGUF file of %s",
	    type, h->arch->name);
}

static int read_rope(struct gguf_hparams *h, struct gptqfs_error *err)
{
	const struct json *parameters = member(h, "rope_parameters");
	const struct json *full = json_get(parameters, "full_attention");
	double partial, dims;
	int rc;

	h->scaling = full ? full : parameters ? parameters : member(h, "rope_scaling");
	rc = read_rope_type(h, err);
	if (rc == 0)
		rc = read_double(rope_member(h, "rope_theta"), "rope_theta", is_arch(h, "gemma3") ? 1e6 : 1e4,
		    &h->theta, err);
	if (rc == 0)
		rc = read_double(rope_member(h, "partial_rotary_factor"), "partial_rotary_factor", 1, &partial, err);
	if (rc)
		return rc;
	dims = h->head_dim * partial;
	if (!(dims >= 0 && dims <= h->head_dim))
		return bad_member("partial_rotary_factor", "at most 1", err);
	h->rope_dims = (uint32_t)dims;
	return read_u32(rope_member(h, "original_max_position_embeddings"), "original_max_position_embeddings",
	    h->rope == GGUF_ROPE_LLAMA3 ? &(uint32_t){8192} : &h->context, &h->original, err);
}

int gguf_rope_llama3(const struct gguf_hparams *h, struct text *out, struct gptqfs_error *err)
{
	double factor, low, high;
	int rc = read_double(json_get(h->scaling, "factor"), "factor", 8, &factor, err);

	if (rc == 0)
		rc = read_double(json_get(h->scaling, "low_freq_factor"), "low_freq_factor", 1, &low, err);
	if (rc == 0)
		rc = read_double(json_get(h->scaling, "high_freq_factor"), "high_freq_factor", 4, &high, err);
	for (uint32_t i = 0; rc == 0 && i < h->head_dim / 2; i++) {
		const double w = 2 * M_PI * pow(h->theta, 2.0 * i / h->head_dim), o = h->original;
		const double s = (o / w - low) / (high - low);

		gguf_put_float(out, w < o / high ? 1 : w > o / low ? factor : 1 / ((1 - s) / factor + s));
	}
	return rc;
}

int gguf_rope_long(const struct gguf_hparams *h, const char *key, struct text *out, struct gptqfs_error *err)
{
	const struct json *factors = json_get(h->scaling, key);

	if (json_count(factors) != h->rope_dims / 2)
		return err_set(err, -ENOTSUP, "config.json: %s has %zu values, expected %u", key, json_count(factors),
		    h->rope_dims / 2);
	for (const struct json *f = json_first(factors); f; f = json_after(f)) {
		double value;

		if (!json_number(f, &value))
			return bad_member(key, "numbers", err);
		gguf_put_float(out, value);
	}
	return 0;
}

/* ---- reading ---- */

static int find_arch(struct gguf_hparams *h, struct gptqfs_error *err)
{
	const char *class = json_str(json_at(json_get(h->root, "architectures"), 0));

	h->arch = class ? gguf_arch_find(class) : NULL;
	if (h->arch)
		return 0;
	return err_set(err, -ENOTSUP, "config.json names no class that llama.cpp is known to support (%.80s)",
	    class ? class : "none at all");
}

static int read_sizes(struct gguf_hparams *h, struct gptqfs_error *err)
{
	int rc = read_u32(member(h, "max_position_embeddings"), "max_position_embeddings", &h->arch->context,
	    &h->context, err);

	if (rc == 0)
		rc = member_u32(h, "hidden_size", &h->embedding, err);
	if (rc == 0)
		rc = member_u32(h, "num_hidden_layers", &h->blocks, err);
	if (rc == 0)
		rc = member_u32(h, "intermediate_size", &h->feed_forward, err);
	if (rc == 0)
		rc = member_u32(h, "num_attention_heads", &h->heads, err);
	if (rc == 0 && !h->heads)
		rc = bad_member("num_attention_heads", "more than 0", err);
	if (rc == 0)
		rc = read_u32(member(h, "num_key_value_heads"), "num_key_value_heads", &h->heads, &h->kv_heads, err);
	if (rc == 0)
		rc = read_u32(member(h, "head_dim"), "head_dim",
		    h->arch->head_dim ? &h->arch->head_dim : &(uint32_t){h->embedding / h->heads}, &h->head_dim, err);
	if (rc == 0 && (!h->head_dim || h->head_dim % 2))
		rc = bad_member("head_dim", "an even number", err);
	if (rc == 0)
		rc = member_u32(h, "vocab_size", &h->vocabulary, err);
	return rc ? rc : read_double(member(h, "rms_norm_eps"), "rms_norm_eps", h->arch->eps, &h->eps, err);
}

/* llama.cpp has one activation for each architecture, and no key for it. */
static int check_activation(const struct gguf_hparams *h, struct gptqfs_error *err)
{
	static const char *const names[2][2] = {{"silu", "swish"}, {"gelu_pytorch_tanh", "gelu_pytorch_tanh"}};
	const bool gemma = h->arch->plus_one;
	const char *key = gemma ? "hidden_activation" : "hidden_act", *name = json_str(member(h, key));

	if (!name || strcmp(name, names[gemma][0]) == 0 || strcmp(name, names[gemma][1]) == 0)
		return 0;
	return err_set(err, -ENOTSUP, "config.json: %s is \"%.80s\", and llama.cpp always computes %s for %s", key,
	    name, names[gemma][0], h->arch->name);
}

/* llama.cpp divides by the root of head_dim, of the models of 27B by that of hidden_size / heads. */
static bool scales_otherwise(const struct gguf_hparams *h)
{
	const uint32_t large = is_arch(h, "gemma2") ? 46 : 62; /* layers */
	int64_t scalar;

	return h->arch->plus_one && json_integer(member(h, "query_pre_attn_scalar"), &scalar) &&
	       scalar != (h->blocks == large ? h->embedding / h->heads : h->head_dim);
}

/* Features that llama.cpp does not support. */
static const char *find_warning(const struct gguf_hparams *h)
{
	if (strcmp(h->arch->class, "MistralForCausalLM") == 0 && member(h, "sliding_window"))
		return "gguf: llama.cpp has no sliding window for this model; beyond sliding_window tokens of context "
		       "its attention is wider than the class's";
	if (h->arch->biases == GGUF_BIAS_QKV && json_bool(member(h, "use_sliding_window"), false))
		return "gguf: llama.cpp has no sliding window for this model, and use_sliding_window is true";
	if (scales_otherwise(h))
		return "gguf: llama.cpp scales the attention of this model otherwise: it has no key for query_pre_attn_scalar";
	return NULL;
}

int gguf_hparams_read(const struct json *config, struct gguf_hparams *out, struct gptqfs_error *err)
{
	const struct json *experts;
	int rc;

	*out = (struct gguf_hparams){.root = config, .text = json_get(config, "text_config")};
	rc = find_arch(out, err);
	if (rc == 0)
		rc = check_activation(out, err);
	if (rc == 0)
		rc = read_sizes(out, err);
	if (rc == 0)
		rc = read_rope(out, err);
	if (rc || !out->arch->experts) {
		out->warning = rc ? NULL : find_warning(out);
		return rc;
	}
	experts = member(out, "num_local_experts");
	rc = read_u32(experts ? experts : member(out, "num_experts"), "num_experts", NULL, &out->experts, err);
	if (rc == 0 && !out->experts)
		rc = bad_member("num_experts", "more than 0", err);
	out->warning = rc ? NULL : find_warning(out);
	return rc;
}

/* ---- writing ---- */

static int put_yarn(const struct gguf_hparams *h, struct gguf_keys *k, struct gptqfs_error *err)
{
	static const struct {
		const char *from, *to;
	} factors[] = {{"extrapolation_factor", ".rope.scaling.yarn_ext_factor"},
	    {"attention_factor", ".rope.scaling.yarn_attn_factor"}, {"beta_fast", ".rope.scaling.yarn_beta_fast"},
	    {"beta_slow", ".rope.scaling.yarn_beta_slow"}};
	double value;
	int rc = 0;

	gguf_key_u32(k, ".rope.scaling.original_context_length", h->original);
	for (size_t i = 0; rc == 0 && i < sizeof(factors) / sizeof(*factors); i++) {
		const struct json *factor = json_get(h->scaling, factors[i].from);

		rc = read_double(json_is_null(factor) ? NULL : factor, factors[i].from, 0, &value, err);
		if (rc == 0 && factor && !json_is_null(factor))
			gguf_key_float(k, factors[i].to, value);
	}
	return rc;
}

static int put_rope(const struct gguf_hparams *h, struct gguf_keys *k, struct gptqfs_error *err)
{
	const double c = h->context, o = h->original;
	const char *type = h->rope == GGUF_ROPE_YARN ? "yarn" : "linear";
	double factor;
	int rc;

	if (h->rope == GGUF_ROPE_LONG)
		gguf_key_float(k, ".rope.scaling.attn_factor", c > o ? sqrt(1 + log(c / o) / log(o)) : 1);
	if (h->rope != GGUF_ROPE_LINEAR && h->rope != GGUF_ROPE_YARN)
		return 0;
	if (!json_get(h->scaling, "factor"))
		return bad_member("factor", "a number in the configuration of rope", err);
	rc = read_double(json_get(h->scaling, "factor"), "factor", 1, &factor, err);
	if (rc)
		return rc;
	gguf_key_string(k, ".rope.scaling.type", type, strlen(type));
	gguf_key_float(k, ".rope.scaling.factor", factor);
	return h->rope == GGUF_ROPE_YARN ? put_yarn(h, k, err) : 0;
}

/* A member of config.json and its key in GGUF. */
struct copied {
	const char *from, *to;
};

static int put_u32(const struct gguf_hparams *h, const struct copied *what, const uint32_t *fallback,
    struct gguf_keys *k, struct gptqfs_error *err)
{
	uint32_t value = 0;
	int rc = read_u32(member(h, what->from), what->from, fallback, &value, err);

	if (rc == 0)
		gguf_key_u32(k, what->to, value);
	return rc;
}

static int put_experts(const struct gguf_hparams *h, struct gguf_keys *k, struct gptqfs_error *err)
{
	int rc;

	gguf_key_u32(k, ".expert_count", h->experts);
	rc = put_u32(h, &(struct copied){"num_experts_per_tok", ".expert_used_count"}, NULL, k, err);
	if (rc == 0 && !is_arch(h, "llama"))
		rc = put_u32(h, &(struct copied){"moe_intermediate_size", ".expert_feed_forward_length"}, NULL, k, err);
	if (rc == 0 && is_arch(h, "qwen2moe"))
		rc = put_u32(h,
		    &(struct copied){"shared_expert_intermediate_size", ".expert_shared_feed_forward_length"}, NULL, k,
		    err);
	return rc;
}

static int put_float(const struct gguf_hparams *h, const struct copied *what, double fallback, struct gguf_keys *k,
    struct gptqfs_error *err)
{
	double value = fallback;
	int rc = read_double(member(h, what->from), what->from, fallback, &value, err);

	if (rc == 0)
		gguf_key_float(k, what->to, value);
	return rc;
}

static int put_gemma(const struct gguf_hparams *h, struct gguf_keys *k, struct gptqfs_error *err)
{
	const struct json *text = json_get(h->text, "final_logit_softcapping");
	const struct json *cap = text ? text : json_get(h->root, "final_logit_softcapping");
	const struct json *local = json_get(json_get(member(h, "rope_parameters"), "sliding_attention"), "rope_theta");
	double theta;
	int rc = put_u32(h, &(struct copied){"sliding_window", ".attention.sliding_window"}, &(uint32_t){4096}, k, err);

	if (rc == 0 && is_arch(h, "gemma2"))
		rc = put_float(h, &(struct copied){"attn_logit_softcapping", ".attn_logit_softcapping"}, 50, k, err);
	if (rc == 0 && (is_arch(h, "gemma2") ? !json_is_null(cap) : cap && !json_is_null(cap)))
		rc = put_float(h, &(struct copied){"final_logit_softcapping", ".final_logit_softcapping"}, 30, k, err);
	if (rc || is_arch(h, "gemma2"))
		return rc;
	rc = read_double(local ? local : member(h, "rope_local_base_freq"), "rope_local_base_freq", 1e4, &theta, err);
	if (rc == 0)
		gguf_key_float(k, ".rope.freq_base_swa", theta);
	return rc;
}

static void put_sizes(const struct gguf_hparams *h, struct gguf_keys *k)
{
	gguf_key_u32(k, ".context_length", h->context);
	gguf_key_u32(k, ".embedding_length", h->embedding);
	gguf_key_u32(k, ".block_count", h->blocks);
	gguf_key_u32(k, ".feed_forward_length", h->feed_forward);
	gguf_key_u32(k, ".attention.head_count", h->heads);
	gguf_key_u32(k, ".attention.head_count_kv", h->kv_heads);
	gguf_key_u32(k, ".attention.key_length", h->head_dim);
	gguf_key_u32(k, ".attention.value_length", h->head_dim);
	gguf_key_float(k, ".attention.layer_norm_rms_epsilon", h->eps);
	gguf_key_u32(k, ".rope.dimension_count", h->rope_dims);
	gguf_key_float(k, ".rope.freq_base", h->theta);
	if (is_arch(h, "llama"))
		gguf_key_u32(k, ".vocab_size", h->vocabulary);
}

int gguf_hparams_put(const struct gguf_hparams *h, const char *name, uint32_t file_type, struct gguf_keys *k,
    struct gptqfs_error *err)
{
	int rc;

	k->prefix = h->arch->name;
	gguf_key_string(k, "general.architecture", h->arch->name, strlen(h->arch->name));
	gguf_key_string(k, "general.type", "model", 5);
	gguf_key_string(k, "general.name", name, strlen(name));
	put_sizes(h, k);
	rc = put_rope(h, k, err);
	if (rc == 0 && is_arch(h, "phi3")) {
		gguf_key_u32(k, ".rope.scaling.original_context_length", h->original);
		rc =
		    put_u32(h, &(struct copied){"sliding_window", ".attention.sliding_window"}, &(uint32_t){0}, k, err);
	}
	if (rc == 0 && h->experts)
		rc = put_experts(h, k, err);
	if (rc == 0 && h->arch->plus_one)
		rc = put_gemma(h, k, err);
	gguf_key_u32(k, "general.file_type", file_type);
	gguf_key_u32(k, "general.quantization_version", 2);
	return rc;
}
