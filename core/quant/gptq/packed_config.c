/* SPDX-License-Identifier: MIT */
#include "quant/gptq/packed_config.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "quant/gptq/packed.h"
#include "quant/gptq/zeros.h"
#include "tensor/join.h"

/* Configurable properties of a module. */
struct traits {
	int bits;
	int64_t group_size; /* -1 for one group */
	int word_bits;
	bool sym;
	bool desc_act; /* groups are scattered, so g_idx is needed */
};

struct writer {
	struct quant_config config;
	const struct tensors *ts;
	struct text *out;
	int indent;
	bool sym; /* if unknown in the source: whether all modules are */
	struct traits base;
};

/* Traits counted to find the most common ones. With more than a few different ones, no base is worth having. */
#define KINDS_MAX 64

struct kinds {
	struct traits traits[KINDS_MAX];
	size_t modules[KINDS_MAX], count;
};

/* ---- traits ---- */

/* True if this group_size of a configuration yields the module's groups. */
static bool is_size_of(int64_t size, const struct qtensor *q)
{
	const uint64_t whole = size > 0 && size < q->in_features ? (uint64_t)size : q->in_features;

	if (q->g_idx || q->groups == 1)
		return div_up(q->in_features, whole) == q->groups;
	return whole == q->group_size;
}

/* For scattered groups, if the model's size does not yield their number, the nearest size that does. */
static int64_t packed_config_group_size_of(const struct quant_config *config, const struct qtensor *q)
{
	const int64_t said = config->group_size;

	if (said && is_size_of(said, q))
		return said;
	if (q->groups == 1)
		return -1;
	return q->g_idx ? (int64_t)div_up(q->in_features, q->groups) : q->group_size;
}

static struct traits traits_of(const struct writer *w, const struct tensor *t)
{
	struct gptq_formed modules[JOIN_PARTS_MAX];
	const size_t count = gptq_formed(t, modules);
	const struct qtensor *q = &modules[0].form.q;
	struct traits traits = {.bits = q->bits,
	    .group_size = packed_config_group_size_of(&w->config, q),
	    .word_bits = q->word_bits,
	    .sym = w->sym,
	    .desc_act = q->g_idx != NULL};

	for (size_t i = 0; i < count; i++)
		traits.sym &= modules[i].form.symmetric;
	return traits;
}

static bool same(const struct traits *a, const struct traits *b)
{
	return a->bits == b->bits && a->group_size == b->group_size && a->word_bits == b->word_bits &&
	       a->sym == b->sym && a->desc_act == b->desc_act;
}

static void count_kind(struct kinds *k, struct traits traits)
{
	size_t i = 0;

	while (i < k->count && !same(&k->traits[i], &traits))
		i++;
	if (i == KINDS_MAX)
		return;
	k->traits[i] = traits;
	k->count += i == k->count;
	k->modules[i]++;
}

static bool packed_config_is_quantized(const struct tensor *t)
{
	size_t count;

	return tensor_encoded(tensor_parts(&t, &count)[0]) != NULL;
}

static void find_base(struct writer *w)
{
	struct kinds kinds = {0};
	size_t best = 0;

	w->sym = w->config.sym;
	for (size_t i = 0; !w->config.has_sym && i < w->ts->encoded_count; i++) {
		struct gptq_form form = {0};

		w->ts->encoded[i]->encoding->gptq->describe(w->ts->encoded[i], &form);
		w->sym &= form.symmetric;
	}
	for (size_t i = 0; i < w->ts->count; i++)
		if (packed_config_is_quantized(&w->ts->list[i]))
			count_kind(&kinds, traits_of(w, &w->ts->list[i]));
	for (size_t i = 1; i < kinds.count; i++)
		if (kinds.modules[i] > kinds.modules[best])
			best = i;
	w->base = kinds.traits[best];
}

/* ---- writing ---- */

/* Starts a line: for the first member of an object or list, or after a comma. */
static void line(struct writer *w, bool first, int depth)
{
	text_printf(w->out, "%s\n%*s", first ? "" : ",", w->indent + 2 * depth, "");
}

/* A name: `len` bytes of `prefix`, then `tail`. */
static void put_name(struct writer *w, const char *prefix, size_t len, const char *tail)
{
	struct text name = {0};

	text_printf(&name, "%.*s%s", (int)len, prefix, tail);
	text_put(&name, "", 1);
	if (name.failed)
		w->out->failed = true;
	else
		text_json_string(w->out, name.data);
	text_free(&name);
}

static size_t module_len(const struct tensor *weight)
{
	return strlen(weight->name) - strlen(".weight");
}

/*
 * The names by which readers look up a quantized module: its own, and those of its parts, now or before the model was
 * saved.
 */
static void put_names(struct writer *w, const struct tensor *t, bool first)
{
	const struct join_rule *rule = join_rule_of(t->name, module_len(t));
	size_t count;
	const struct tensor *const *parts = tensor_parts(&t, &count);

	line(w, first, 3);
	put_name(w, t->name, module_len(t), "");
	for (size_t i = 0; count > 1 && i < count; i++) {
		line(w, false, 3);
		put_name(w, parts[i]->name, module_len(parts[i]), "");
	}
	for (size_t i = 0; count == 1 && rule && i < JOIN_PARTS_MAX && rule->part[i]; i++) {
		line(w, false, 3);
		put_name(w, t->name, module_len(t) - strlen(rule->joined), rule->part[i]);
	}
}

static void write_modules(struct writer *w)
{
	bool first = true;

	line(w, false, 1);
	text_printf(w->out, "\"modules_in_block_to_quantize\": [");
	line(w, true, 2);
	text_printf(w->out, "[");
	for (size_t i = 0; i < w->ts->count; i++) {
		const struct tensor *t = &w->ts->list[i];

		/* No reader can look up an empty name, or one with a NUL (see json_string). */
		if (!packed_config_is_quantized(t) || !module_len(t) || strstr(t->name, "\xc0\x80"))
			continue;
		put_names(w, t, first);
		first = false;
	}
	line(w, true, 2);
	text_printf(w->out, "]");
	line(w, true, 1);
	text_printf(w->out, "]");
}

/* Writes a member of an override or of the base, after a comma unless it is the first. */
static void write_member(struct writer *w, bool *first, const char *key, const char *value)
{
	text_printf(w->out, "%s\"%s\": %s", *first ? "" : ", ", key, value);
	*first = false;
}

static const char *truth(bool value)
{
	return value ? "true" : "false";
}

/* Writes an override: the members in which it differs. */
static void write_override(struct writer *w, const struct traits *t)
{
	const struct traits *base = &w->base;
	bool first = true;
	char value[32];

	if (t->bits != base->bits) {
		snprintf(value, sizeof(value), "%d", t->bits);
		write_member(w, &first, "bits", value);
	}
	if (t->group_size != base->group_size) {
		snprintf(value, sizeof(value), "%lld", (long long)t->group_size);
		write_member(w, &first, "group_size", value);
	}
	if (t->desc_act != base->desc_act)
		write_member(w, &first, "desc_act", truth(t->desc_act));
	if (t->sym != base->sym)
		write_member(w, &first, "sym", truth(t->sym));
	snprintf(value, sizeof(value), "\"int%d\"", t->word_bits);
	if (t->word_bits != base->word_bits)
		write_member(w, &first, "pack_dtype", value);
}

/*
 * Writes a pattern for one name. Only punctuation is escaped, by a backslash, which PCRE, Python and POSIX read alike.
 * NUL is the two bytes C0 80 here (see json_string).
 */
static void write_pattern(struct writer *w, char sign, const char *name, size_t len)
{
	struct text pattern = {0};

	text_printf(&pattern, "%c:^", sign);
	for (size_t i = 0; i < len; i++) {
		if (i + 1 < len && memcmp(name + i, "\xc0\x80", 2) == 0) {
			text_put(&pattern, "\\x00", 4);
			i++;
			continue;
		}
		if (strchr("\\.^$*+?()[]{}|", name[i]))
			text_put(&pattern, "\\", 1);
		text_put(&pattern, name + i, 1);
	}
	text_put(&pattern, "$", 2); /* and NUL */
	if (pattern.failed)
		w->out->failed = true;
	else
		text_json_string(w->out, pattern.data);
	text_free(&pattern);
}

/* True for a weight that readers might take for quantized: a matrix of floats. */
static bool is_plain_matrix(const struct tensor *t)
{
	size_t count;
	const enum dtype dtype = tensor_stored_dtype(tensor_parts(&t, &count)[0]);

	return t->ndim == 2 && dtype != DTYPE_COUNT && dtype_is_cast(dtype) && ends_with(t->name, ".weight");
}

static void write_dynamic(struct writer *w)
{
	bool first = true;

	for (size_t i = 0; i < w->ts->count; i++) {
		const struct tensor *t = &w->ts->list[i];
		const bool quantized = packed_config_is_quantized(t);
		struct traits traits = quantized ? traits_of(w, t) : w->base;

		if (quantized ? same(&traits, &w->base) : !is_plain_matrix(t))
			continue;
		if (first) {
			line(w, false, 1);
			text_printf(w->out, "\"dynamic\": {");
		}
		line(w, first, 2);
		write_pattern(w, quantized ? '+' : '-', t->name, module_len(t));
		text_printf(w->out, ": {");
		write_override(w, &traits);
		text_printf(w->out, "}");
		first = false;
	}
	if (first)
		return;
	line(w, true, 1);
	text_printf(w->out, "}");
}

static bool has_quantized_head(const struct tensors *ts)
{
	for (size_t i = 0; i < ts->count; i++)
		if (packed_config_is_quantized(&ts->list[i]) && ends_with(ts->list[i].name, "lm_head.weight"))
			return true;
	return false;
}

/*
 * GPTQModel reads asymmetric v1 zeros only if it knows their writer. They are what the format says here, which not all
 * of those of older versions are: one that has not shifted any is named instead.
 */
static void write_producer(struct writer *w)
{
	const bool old = w->config.gptqmodel && w->config.gptqmodel < ZEROS_CURED;
	const char *producer = old ? "gptqmodel:7.3.2" : w->config.producer;

	if (!*producer)
		return;
	line(w, false, 1);
	if (strchr(producer, ':')) {
		text_printf(w->out, "\"meta\": {\"quantizer\": [");
		text_json_string(w->out, producer);
		text_printf(w->out, "]}");
	} else {
		text_printf(w->out, "\"provider\": ");
		text_json_string(w->out, producer);
	}
}

/* The configuration of a GPTQ model; for others, what their modules do not give. */
static struct quant_config config_of(const struct tensors *ts)
{
	if (ts->encoded[0]->encoding == &gptq_encoding)
		return *gptq_module_of(ts->encoded[0])->config;
	return (struct quant_config){
	    .producer = "", .group_size = ts->labels.group_size, .sym = true, .zeros = packed_zeros(ts)};
}

int packed_config_write(const struct tensors *ts, int indent, struct text *out)
{
	struct writer w = {.config = config_of(ts), .ts = ts, .out = out, .indent = indent};
	const char *format = w.config.planar ? "gptq_p" : w.config.zeros == ZEROS_V2 ? "gptq_v2" : "gptq";

	find_base(&w);
	text_printf(out, "{");
	line(&w, true, 1);
	text_printf(out, "\"quant_method\": \"gptq\"");
	line(&w, false, 1);
	text_printf(out, "\"checkpoint_format\": \"%s\"", format);
	line(&w, false, 1);
	text_printf(out, "\"format\": \"%s\"", format);
	line(&w, false, 1);
	text_printf(out, "\"bits\": %d", w.base.bits);
	line(&w, false, 1);
	text_printf(out, "\"group_size\": %lld", (long long)w.base.group_size);
	line(&w, false, 1);
	text_printf(out, "\"desc_act\": %s", truth(w.base.desc_act));
	line(&w, false, 1);
	text_printf(out, "\"sym\": %s", truth(w.base.sym));
	line(&w, false, 1);
	text_printf(out, "\"pack_dtype\": \"int%d\"", w.base.word_bits);
	line(&w, false, 1);
	text_printf(out, "\"lm_head\": %s", truth(has_quantized_head(ts)));
	write_producer(&w);
	write_modules(&w);
	write_dynamic(&w);
	line(&w, true, 0);
	text_printf(out, "}");
	return out->failed ? -ENOMEM : 0;
}
