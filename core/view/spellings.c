/* SPDX-License-Identifier: MIT */
#include "view/spellings.h"

#include <string.h>

/*
 * Sources: convert_rope_params_to_dict of transformers 5 and its overrides in classes, attribute_map, and the members
 * that configurations of 4.57 read instead.
 */
enum key {
	THETA,
	SCALING,
	PARAMETERS,
	PARTIAL,
	LOCAL_BASE,
	GLOBAL_THETA,
	LOCAL_THETA,
	ROTARY_BASE,
	ROTARY_PCT,
	ORIGINAL,
	EXPERTS,
	LOCAL_EXPERTS,
	MODEL_TYPE,
	HIDDEN,
	ROPE_TYPE,
	TYPE,
	FULL,
	SLIDING,
	KEYS
};

static const char *const keys[KEYS] = {
    [THETA] = "rope_theta",
    [SCALING] = "rope_scaling",
    [PARAMETERS] = "rope_parameters",
    [PARTIAL] = "partial_rotary_factor",
    [LOCAL_BASE] = "rope_local_base_freq",
    [GLOBAL_THETA] = "global_rope_theta",
    [LOCAL_THETA] = "local_rope_theta",
    [ROTARY_BASE] = "rotary_emb_base",
    [ROTARY_PCT] = "rotary_pct",
    [ORIGINAL] = "original_max_position_embeddings",
    [EXPERTS] = "num_experts",
    [LOCAL_EXPERTS] = "num_local_experts",
    [MODEL_TYPE] = "model_type",
    [HIDDEN] = "hidden_size",
    [ROPE_TYPE] = "rope_type",
    [TYPE] = "type",
    [FULL] = "full_attention",
    [SLIDING] = "sliding_attention",
};

/* The values of these keys in an object; at == NULL if absent. */
struct members {
	struct json_text of[KEYS];
};

struct speller {
	struct members have;
	struct spelling *out;
	size_t count;
};

static struct members spellings_collect(struct json_text object)
{
	struct members found = {0};
	struct json_walk walk;
	struct json_member m;

	if (!object.at || !json_walk(&walk, object))
		return found;
	while (json_next(&walk, &m))
		for (enum key k = 0; k < KEYS; k++)
			if (json_text_is(m.key, keys[k]))
				found.of[k] = m.value;
	return found;
}

static bool is_number(struct json_text value)
{
	return value.at && (*value.at == '-' || (*value.at >= '0' && *value.at <= '9'));
}

static bool is_object(struct json_text value)
{
	return value.at && *value.at == '{';
}

static bool is_string(struct json_text value)
{
	return value.at && *value.at == '"';
}

/* True if absent or null. */
static bool is_nothing(struct json_text value)
{
	return !value.at || (value.len == 4 && memcmp(value.at, "null", 4) == 0);
}

static bool is_model(const struct speller *s, const char *const *types)
{
	while (*types && !(s->have.of[MODEL_TYPE].at && json_text_is(s->have.of[MODEL_TYPE], *types)))
		types++;
	return *types != NULL;
}

/* ---- adding ---- */

/* Returns the value to fill in for a new member, or NULL if the object has the key. */
static struct text *add(struct speller *s, enum key key)
{
	struct spelling *new = &s->out[s->count];

	if (s->have.of[key].at || s->count == SPELLINGS_MAX)
		return NULL;
	*new = (struct spelling){.key = keys[key]};
	s->count++;
	return &new->value;
}

static void add_number(struct speller *s, enum key key, struct json_text value)
{
	struct text *out = is_number(value) ? add(s, key) : NULL;

	if (out)
		text_put(out, value.at, value.len);
}

static void put_member(struct text *out, struct json_text key, struct json_text value)
{
	text_string(out, out->len > 1 ? ", " : "");
	text_put(out, key.at, key.len);
	text_string(out, ": ");
	text_put(out, value.at, value.len);
}

static void put_named(struct text *out, enum key key, struct json_text value)
{
	text_printf(out, "%s\"%s\": ", out->len > 1 ? ", " : "", keys[key]);
	text_put(out, value.at, value.len);
}

/* Appends the members of an object except some. */
static void put_others(struct text *out, struct json_text object, const enum key not [4])
{
	struct json_walk walk;
	struct json_member m;

	json_walk(&walk, object);
	while (json_next(&walk, &m)) {
		bool skipped = false;

		for (int i = 0; i < 4; i++)
			skipped |= not [i] < KEYS && json_text_is(m.key, keys[not [i]]);
		if (!skipped)
			put_member(out, m.key, m.value);
	}
}

/* ---- rope_parameters as transformers 4 spells them ---- */

static const char *const phi3[] = {"phi3", "phi4_multimodal", NULL};
static const char *const two_fields[] = {"olmo", "olmo2", "chameleon", "hunyuan_v1_dense", "hunyuan_v1_moe", NULL};
static const char *const gemma3[] = {"gemma3_text", "gemma3n_text", NULL};
static const char *const modernbert[] = {"modernbert", "modernbert-decoder", NULL};
static const char *const neox[] = {"gpt_neox", "gpt_neox_japanese", NULL};
static const char *const olmo3[] = {"olmo3", NULL};

/* True if it sets only the base and the share of rotated dimensions. */
static bool spellings_is_plain(struct json_text parameters, const struct members *p)
{
	struct json_walk walk;
	struct json_member m;
	bool plain = is_nothing(p->of[ROPE_TYPE]) || json_text_is(p->of[ROPE_TYPE], "default");

	json_walk(&walk, parameters);
	while (json_next(&walk, &m))
		plain &= json_text_is(m.key, keys[ROPE_TYPE]) || json_text_is(m.key, keys[TYPE]) ||
		         json_text_is(m.key, keys[THETA]) || json_text_is(m.key, keys[PARTIAL]);
	return plain;
}

static void add_scaling(struct speller *s, struct json_text parameters)
{
	const struct members p = spellings_collect(parameters);
	/* These classes check the number of members, and know the type by its oldest name. */
	const bool strict = is_model(s, phi3) || is_model(s, two_fields);
	/* If both are given, transformers 5 prefers rope_scaling, so an older rope_theta must not count then. */
	const enum key theta = is_number(s->have.of[THETA]) ? KEYS : THETA;
	const enum key any[4] = {theta, PARTIAL, KEYS, KEYS}, known[4] = {THETA, PARTIAL, ROPE_TYPE, TYPE};
	struct text *out = spellings_is_plain(parameters, &p) ? NULL : add(s, SCALING);

	if (!out)
		return;
	text_string(out, "{");
	if (strict && is_string(p.of[ROPE_TYPE]))
		put_named(out, TYPE, p.of[ROPE_TYPE]);
	if (strict && is_model(s, phi3)) {
		struct json_walk walk;
		struct json_member m;

		json_walk(&walk, parameters);
		while (json_next(&walk, &m))
			if (json_text_is(m.key, "short_factor") || json_text_is(m.key, "long_factor"))
				put_member(out, m.key, m.value);
	} else {
		put_others(out, parameters, strict && is_string(p.of[ROPE_TYPE]) ? known : any);
	}
	text_string(out, "}");
}

/* One set per type of layer: only classes that had two bases before have an older spelling. */
static void spell_nested(struct speller *s, const struct members *p)
{
	const struct members full = spellings_collect(p->of[FULL]), sliding = spellings_collect(p->of[SLIDING]);

	if (is_model(s, modernbert)) {
		add_number(s, GLOBAL_THETA, full.of[THETA]);
		add_number(s, LOCAL_THETA, sliding.of[THETA]);
		return;
	}
	if (!is_model(s, gemma3) && !is_model(s, olmo3))
		return;
	add_number(s, THETA, full.of[THETA]);
	if (is_model(s, gemma3))
		add_number(s, LOCAL_BASE, sliding.of[THETA]);
	if (is_object(p->of[FULL]))
		add_scaling(s, p->of[FULL]);
}

static void spell_older(struct speller *s)
{
	const struct members p = spellings_collect(s->have.of[PARAMETERS]);

	if (is_object(p.of[FULL]) || is_object(p.of[SLIDING])) {
		spell_nested(s, &p);
		return;
	}
	add_number(s, THETA, p.of[THETA]);
	add_number(s, PARTIAL, p.of[PARTIAL]);
	if (is_model(s, neox)) {
		add_number(s, ROTARY_BASE, p.of[THETA]);
		add_number(s, ROTARY_PCT, p.of[PARTIAL]);
	}
	if (is_model(s, phi3))
		add_number(s, ORIGINAL, p.of[ORIGINAL]);
	add_scaling(s, s->have.of[PARAMETERS]);
}

/* ---- rope_theta and rope_scaling as transformers 5 spells them ---- */

static void spell_newer(struct speller *s)
{
	const struct json_text theta = s->have.of[THETA], scaling = s->have.of[SCALING];
	const struct members old = spellings_collect(scaling);
	const enum key not [4] = {ROPE_TYPE, TYPE, THETA, PARTIAL};
	const struct json_text type = is_string(old.of[ROPE_TYPE]) ? old.of[ROPE_TYPE] : old.of[TYPE];
	struct text *out;

	/* DBRX's attn_config takes rope_theta and nothing else; GPT-NeoX uses rotary_emb_base. */
	if (!is_number(theta) || (!is_nothing(scaling) && !is_object(scaling)) || !is_string(s->have.of[MODEL_TYPE]) ||
	    !s->have.of[HIDDEN].at || is_model(s, neox) || is_model(s, gemma3) || is_model(s, olmo3) ||
	    is_model(s, modernbert))
		return;
	out = add(s, PARAMETERS);
	if (!out)
		return;
	text_string(out, "{");
	put_named(out, THETA, theta);
	text_string(out, ", \"rope_type\": ");
	/* Qwen2-VL's "mrope" is no longer a type of its own. */
	if (is_string(type) && !json_text_is(type, "mrope"))
		text_put(out, type.at, type.len);
	else
		text_string(out, "\"default\"");
	if (is_number(s->have.of[PARTIAL]))
		put_named(out, PARTIAL, s->have.of[PARTIAL]);
	if (is_object(scaling))
		put_others(out, scaling, not );
	text_string(out, "}");
}

size_t spellings_missing(struct json_text object, bool custom, struct spelling out[SPELLINGS_MAX])
{
	static const char *const moe[] = {"qwen3_moe", "qwen3_vl_moe_text", "qwen3_omni_moe_talker_text", NULL};
	struct speller s = {.have = spellings_collect(object), .out = out};

	if (is_object(s.have.of[PARAMETERS]))
		spell_older(&s);
	else if (!custom)
		spell_newer(&s);
	if (is_model(&s, moe)) {
		add_number(&s, EXPERTS, s.have.of[LOCAL_EXPERTS]);
		add_number(&s, LOCAL_EXPERTS, s.have.of[EXPERTS]);
	}
	return s.count;
}

void spellings_free(struct spelling *list, size_t count)
{
	for (size_t i = 0; i < count; i++)
		text_free(&list[i].value);
}
