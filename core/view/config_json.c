/* SPDX-License-Identifier: MIT */
#include "view/config_json.h"

#include <string.h>

#include "view/spellings.h"

/* No model has a configuration deeper than that, and each level is another pass over the text. */
#define DEPTH_MAX 16

struct rewrite {
	const struct config_view *view;
	bool custom;   /* the model comes with its own classes */
	bool placed;   /* view->quantization was written */
	uint32_t seen; /* which of view->members were set in a part, which is enough */
	struct text *out;
};

/* An object being written. */
struct object {
	bool top;
	bool part; /* the configuration of a part of the model with its own type */
	bool text; /* text_config */
	int depth;
	struct json_text space; /* blanks before its first key, also used before added members */
	bool empty;             /* nothing was written yet */
	uint32_t seen;          /* which of view->members it has */
};

static bool is_packed(const struct rewrite *r)
{
	return r->view->quantization.at != NULL;
}

/* MLX writes its configuration a second time, as `quantization` at the top. */
static bool is_cut(const struct rewrite *r, const struct object *o, struct json_member m)
{
	return (!is_packed(r) && json_text_is(m.key, "quantization_config")) ||
	       json_text_is(m.key, "compression_config") ||
	       (o->top && json_text_is(m.key, "quantization") && m.value.at[0] == '{');
}

static bool is_dtype(struct json_text key)
{
	return json_text_is(key, "torch_dtype") || json_text_is(key, "dtype");
}

/* True for "text_config", "vision_config", "decoder" and the like, of models with several parts. */
static bool config_is_part(struct json_text key)
{
	static const char tail[] = "_config\"";
	const size_t n = sizeof(tail) - 1;

	return (key.len > n && memcmp(key.at + key.len - n, tail, n) == 0) || json_text_is(key, "decoder") ||
	       json_text_is(key, "encoder");
}

/* Returns the view's own value of a member of the object, or NULL. */
static const char *own_value(struct rewrite *r, struct object *o, struct json_member m)
{
	for (size_t i = 0; i < r->view->count; i++) {
		const struct config_member *own = &r->view->members[i];

		if (!json_text_is(m.key, own->key))
			continue;
		o->seen |= 1u << i;
		if (o->top || (o->text && own->text) ||
		    (o->part && own->old && strlen(own->old) == m.value.len &&
			memcmp(own->old, m.value.at, m.value.len) == 0)) {
			r->seen |= own->text ? 0 : 1u << i;
			return own->value;
		}
	}
	return NULL;
}

static void rewrite_object(struct rewrite *r, struct json_text text, struct object *o);

static void config_put_value(struct rewrite *r, struct object *o, struct json_member m)
{
	const bool part = (o->top || o->part) && config_is_part(m.key);
	struct object inner = {.part = part, .text = part && json_text_is(m.key, "text_config"), .depth = o->depth + 1};
	const char *own = own_value(r, o, m);

	if (own) {
		text_string(r->out, own);
	} else if (is_packed(r) && json_text_is(m.key, "quantization_config")) {
		text_put(r->out, r->view->quantization.at, r->view->quantization.len);
		r->placed = true;
	} else if (!is_packed(r) && is_dtype(m.key) && (o->top || (o->part && m.value.at[0] == '"'))) {
		text_printf(r->out, "\"%s\"", dtype_torch_name(r->view->dtype));
	} else if (m.value.at[0] == '{' && o->depth < DEPTH_MAX) {
		rewrite_object(r, m.value, &inner);
	} else {
		text_put(r->out, m.value.at, m.value.len);
	}
}

/* ---- members that the object lacks ---- */

static void put_missing(struct rewrite *r, struct object *o, const char *key, struct json_text value)
{
	if (!o->empty)
		text_put(r->out, ",", 1);
	text_put(r->out, o->space.at, o->space.len);
	text_printf(r->out, "\"%s\": ", key);
	text_put(r->out, value.at, value.len);
	o->empty = false;
}

static void put_spellings(struct rewrite *r, struct json_text text, struct object *o)
{
	struct spelling missing[SPELLINGS_MAX];
	const size_t count = spellings_missing(text, r->custom, missing);

	for (size_t i = 0; i < count; i++) {
		r->out->failed |= missing[i].value.failed;
		put_missing(r, o, missing[i].key, (struct json_text){missing[i].value.data, missing[i].value.len});
	}
	spellings_free(missing, count);
}

static void put_own_members(struct rewrite *r, struct object *o)
{
	const uint32_t seen = o->top ? r->seen | o->seen : o->seen;

	for (size_t i = 0; i < r->view->count; i++) {
		const struct config_member *own = &r->view->members[i];

		if (!(seen & 1u << i) && (o->top || own->text))
			put_missing(r, o, own->key, (struct json_text){own->value, strlen(own->value)});
	}
}

static void put_top_members(struct rewrite *r, struct object *o, bool torch_dtype, bool dtype)
{
	char type[32];
	const struct json_text name = {
	    type, (size_t)snprintf(type, sizeof(type), "\"%s\"", is_packed(r) ? "" : dtype_torch_name(r->view->dtype))};

	if (!is_packed(r) && !torch_dtype)
		put_missing(r, o, "torch_dtype", name);
	if (!is_packed(r) && !dtype)
		put_missing(r, o, "dtype", name);
	if (is_packed(r) && !r->placed)
		put_missing(r, o, "quantization_config", r->view->quantization);
}

/*
 * A kept member is written with the blanks before it but without its comma, and commas are written between members, so
 * any members may be cut.
 */
static void rewrite_object(struct rewrite *r, struct json_text text, struct object *o)
{
	struct json_walk walk;
	struct json_member m;
	const char *from = text.at, *open, *kept = NULL;
	bool torch_dtype = false, dtype = false;

	json_walk(&walk, text);
	open = walk.at;
	text_put(r->out, from, (size_t)(open - from));
	o->space = (struct json_text){"", 0};
	o->empty = true;
	from = open;
	while (json_next(&walk, &m)) {
		/* Between the previous value and this key are blanks, a comma, blanks. */
		const char *comma = memchr(from, ',', (size_t)(m.key.at - from));
		const char *blank = comma ? comma + 1 : from;

		if (from == open)
			o->space = (struct json_text){open, (size_t)(m.key.at - open)};
		from = m.value.at + m.value.len;
		if (is_cut(r, o, m)) {
			kept = NULL;
			continue;
		}
		torch_dtype |= json_text_is(m.key, "torch_dtype");
		dtype |= json_text_is(m.key, "dtype");
		if (kept)
			text_put(r->out, kept, (size_t)(comma - kept));
		if (!o->empty)
			text_put(r->out, ",", 1);
		text_put(r->out, blank, (size_t)(m.value.at - blank));
		config_put_value(r, o, m);
		kept = from;
		o->empty = false;
	}
	if ((o->top || o->part) && !r->view->bare)
		put_spellings(r, text, o);
	if ((o->top || o->text) && !r->view->bare)
		put_own_members(r, o);
	if (o->top && !r->view->bare)
		put_top_members(r, o, torch_dtype, dtype);
	text_put(r->out, from, (size_t)(text.at + text.len - from));
}

/* True if the top-level object has this member. */
static bool has_member(struct json_text text, const char *key)
{
	struct json_walk walk;
	struct json_member m;

	json_walk(&walk, text);
	while (json_next(&walk, &m))
		if (json_text_is(m.key, key))
			return true;
	return false;
}

void config_rewrite(struct json_text text, const struct config_view *view, struct text *out)
{
	struct rewrite r = {.view = view, .custom = has_member(text, "auto_map"), .out = out};
	struct object top = {.top = true};

	rewrite_object(&r, text, &top);
}
