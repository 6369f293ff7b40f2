/* SPDX-License-Identifier: MIT */
#include "view/config_json.h"

#include <string.h>

struct rewrite {
	enum dtype dtype;
	struct json_text quantization; /* of the packed view, which keeps its types; at == NULL for a dense one */
	bool placed;                   /* it stands somewhere */
	struct text *out;
};

static bool is_cut(const struct rewrite *r, struct json_text key)
{
	return (!r->quantization.at && json_text_is(key, "quantization_config")) ||
	       json_text_is(key, "compression_config");
}

static bool is_dtype(struct json_text key)
{
	return json_text_is(key, "torch_dtype") || json_text_is(key, "dtype");
}

/* "text_config", "vision_config": parts of a model of several, each with a type of its own. */
static bool is_part(struct json_member m)
{
	static const char tail[] = "_config\"";
	const size_t n = sizeof(tail) - 1;

	return m.key.len > n && memcmp(m.key.at + m.key.len - n, tail, n) == 0 && m.value.at[0] == '{';
}

static void put_dtype(struct rewrite *r)
{
	text_printf(r->out, "\"%s\"", dtype_torch_name(r->dtype));
}

static void rewrite_object(struct rewrite *r, struct json_text object, bool top);

static void put_value(struct rewrite *r, struct json_member m, bool top)
{
	if (r->quantization.at && json_text_is(m.key, "quantization_config")) {
		text_put(r->out, r->quantization.at, r->quantization.len);
		r->placed = true;
	} else if (!r->quantization.at && is_dtype(m.key) && (top || m.value.at[0] == '"'))
		put_dtype(r);
	else if (top && is_part(m))
		rewrite_object(r, m.value, false);
	else
		text_put(r->out, m.value.at, m.value.len);
}

/* Adds a member that the object lacks, spaced as its first one is. */
static void put_missing(struct rewrite *r, const char *key, struct json_text space, bool first)
{
	if (!first)
		text_put(r->out, ",", 1);
	text_put(r->out, space.at, space.len);
	text_printf(r->out, "\"%s\": ", key);
	if (r->quantization.at)
		text_put(r->out, r->quantization.at, r->quantization.len);
	else
		put_dtype(r);
}

/*
 * Every kept member is written with the blanks before it and without its comma; commas are put between. So it does
 * not matter which members are cut.
 */
static void rewrite_object(struct rewrite *r, struct json_text object, bool top)
{
	struct json_walk walk;
	struct json_member m;
	struct json_text space = {"", 0};
	const char *from = object.at, *open, *kept = NULL;
	bool first = true, torch_dtype = !top || r->quantization.at, dtype = torch_dtype;

	json_walk(&walk, object);
	open = walk.at;
	text_put(r->out, from, (size_t)(open - from));
	from = open;
	while (json_next(&walk, &m)) {
		/* Between the last value and this key: blanks, a comma, blanks. */
		const char *comma = memchr(from, ',', (size_t)(m.key.at - from));
		const char *blank = comma ? comma + 1 : from;

		if (from == open)
			space = (struct json_text){open, (size_t)(m.key.at - open)};
		from = m.value.at + m.value.len;
		if (is_cut(r, m.key)) {
			kept = NULL;
			continue;
		}
		torch_dtype |= json_text_is(m.key, "torch_dtype");
		dtype |= json_text_is(m.key, "dtype");
		if (kept)
			text_put(r->out, kept, (size_t)(comma - kept));
		if (!first)
			text_put(r->out, ",", 1);
		text_put(r->out, blank, (size_t)(m.value.at - blank));
		put_value(r, m, top);
		kept = from;
		first = false;
	}
	if (!torch_dtype) {
		put_missing(r, "torch_dtype", space, first);
		first = false;
	}
	if (!dtype)
		put_missing(r, "dtype", space, first);
	if (r->quantization.at && top && !r->placed)
		put_missing(r, "quantization_config", space, first);
	text_put(r->out, from, (size_t)(object.at + object.len - from));
}

void config_rewrite(struct json_text text, enum dtype dtype, struct text *out)
{
	struct rewrite r = {.dtype = dtype, .out = out};

	rewrite_object(&r, text, true);
}

void config_rewrite_packed(struct json_text text, struct json_text quantization, struct text *out)
{
	struct rewrite r = {.quantization = quantization, .out = out};

	rewrite_object(&r, text, true);
}
