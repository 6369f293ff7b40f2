/* SPDX-License-Identifier: MIT */
#include "lora/names.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

/* More parts than any real name has. */
#define PARTS_MAX 64

/* Parts of a name between its dots. */
struct parts {
	char *list[PARTS_MAX];
	size_t count;
};

/* A part that says what the tensor is. The adapter's name may follow, and then the last part. */
static const struct marker {
	const char *part, *last; /* the last one of the name; NULL: the marker or the adapter's name ends it */
	enum lora_role role;
	bool optional; /* the last part may be absent */
} markers[] = {
    {"lora_A", "weight", LORA_A, false},
    {"lora_B", "weight", LORA_B, false},
    {"lora_B", "bias", LORA_BIAS, false},
    {"lora_embedding_A", NULL, LORA_EMBEDDING_A, false},
    {"lora_embedding_B", NULL, LORA_EMBEDDING_B, false},
    {"lora_magnitude_vector", "weight", LORA_MAGNITUDE, true},
    {"lora_a", NULL, LORA_MLX_A, false},
    {"lora_b", NULL, LORA_MLX_B, false},
    {"trainable_tokens_delta", NULL, LORA_TOKENS, false},
};

#define MARKERS (sizeof(markers) / sizeof(*markers))

static bool is_wrapper(const char *part)
{
	static const char *const wrappers[] = {"_fsdp_wrapped_module", "_orig_mod", "_checkpoint_wrapped_module"};

	for (size_t i = 0; i < sizeof(wrappers) / sizeof(*wrappers); i++)
		if (strcmp(part, wrappers[i]) == 0)
			return true;
	return false;
}

/* Cuts the name, whose memory the parts point to. False if it has too many. */
static bool cut_name(char *name, struct parts *p, unsigned *depth)
{
	for (char *at = name, *dot; at; at = dot) {
		dot = strchr(at, '.');
		if (dot)
			*dot++ = 0;
		if (is_wrapper(at))
			continue;
		if (strcmp(at, "base_layer") == 0) {
			++*depth;
			continue;
		}
		if (p->count == PARTS_MAX)
			return false;
		p->list[p->count++] = at;
	}
	return true;
}

/* PEFT wraps a model in "base_model.model."; "base_model." remains if it was unwrapped. */
static void drop_prefix(struct parts *p)
{
	size_t drop = 0;

	if (p->count > 1 && strcmp(p->list[0], "base_model") == 0)
		drop = strcmp(p->list[1], "model") == 0 ? 2 : 1;
	p->count -= drop;
	memmove(p->list, p->list + drop, p->count * sizeof(*p->list));
}

/* True if the parts after number `at` are what the marker requires; sets *who to the adapter's name or "". */
static bool marker_fits(const struct parts *p, size_t at, const struct marker *m, const char **who)
{
	size_t after = p->count - at - 1;

	*who = "";
	if (strcmp(p->list[at], m->part) != 0)
		return false;
	if (m->last && after && strcmp(p->list[p->count - 1], m->last) == 0)
		after--;
	else if (m->last && !m->optional)
		return false;
	if (after == 1)
		*who = p->list[at + 1];
	return after < 2;
}

/* The first `count` parts with dots between them. */
static const char *join_parts(struct arena *arena, const struct parts *p, size_t count)
{
	size_t len = 1;
	char *name, *at;

	for (size_t i = 0; i < count; i++)
		len += strlen(p->list[i]) + 1;
	name = at = arena_alloc(arena, len, 1);
	for (size_t i = 0; name && i < count; i++) {
		if (i)
			*at++ = '.';
		at = stpcpy(at, p->list[i]);
	}
	return name;
}

/* The marker of the name, as its number among the parts; p->count if there is none. */
static size_t find_marker(const struct parts *p, struct lora_name *out)
{
	for (size_t at = 0; at < p->count; at++)
		for (size_t i = 0; i < MARKERS; i++)
			if (marker_fits(p, at, &markers[i], &out->who)) {
				out->role = markers[i].role;
				return at;
			}
	return p->count;
}

/* "X.modules_to_save.default.weight" is "X.weight". */
static void drop_saved(struct parts *p, struct lora_name *out)
{
	for (size_t at = 0; at + 1 < p->count; at++) {
		size_t drop = 1;

		if (strcmp(p->list[at], "modules_to_save") != 0)
			continue;
		if (at + 2 < p->count) {
			out->who = p->list[at + 1];
			drop = 2;
		}
		p->count -= drop;
		memmove(p->list + at, p->list + at + drop, (p->count - at) * sizeof(*p->list));
		return;
	}
}

/* "X.token_adapter.base_layer.weight" is "X.weight": the embedding that rows of tokens go into, if it was resized. */
static void drop_token_adapter(struct parts *p, const struct lora_name *out)
{
	if (!out->depth || p->count < 2 || strcmp(p->list[p->count - 2], "token_adapter") != 0 ||
	    strcmp(p->list[p->count - 1], "weight") != 0)
		return;
	p->list[p->count - 2] = p->list[p->count - 1];
	p->count--;
}

static bool has_part(const struct parts *p, const char *word)
{
	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->list[i], word) == 0)
			return true;
	return false;
}

static bool mentions_lora(const struct parts *p)
{
	for (size_t i = 0; i < p->count; i++)
		if (strstr(p->list[i], "lora_"))
			return true;
	return has_part(p, "token_adapter");
}

int lora_name_parse(const char *name, struct arena *arena, struct lora_name *out)
{
	char *copy = arena_strndup(arena, name, strlen(name));
	struct parts p = {.count = 0};
	size_t at;

	*out = (struct lora_name){.role = LORA_UNKNOWN, .leaf = "", .who = ""};
	if (!copy)
		return -ENOMEM;
	out->module = name;
	if (!cut_name(copy, &p, &out->depth))
		return 0;
	drop_prefix(&p);
	drop_token_adapter(&p, out);
	at = find_marker(&p, out);
	if (at < p.count) {
		at -= at && out->role == LORA_TOKENS && strcmp(p.list[at - 1], "token_adapter") == 0;
		out->module = join_parts(arena, &p, at);
	} else if (has_part(&p, "original_module")) {
		out->role = LORA_IGNORED;
	} else if (!mentions_lora(&p)) {
		drop_saved(&p, out);
		out->role = LORA_REPLACES;
		out->leaf = p.count ? p.list[p.count - 1] : "";
		out->module = join_parts(arena, &p, p.count ? p.count - 1 : 0);
	}
	return out->module ? 0 : -ENOMEM;
}
