/* SPDX-License-Identifier: MIT */
#include "quant/gptq/overrides.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

#define BITS_MAX 64

struct overrides_reader {
	const char *file;
	struct arena *arena;
	struct overrides *out;
	struct gptqfs_error *err;
};

/* ---- reading ---- */

/* If a pattern is "^name$" with escaped punctuation, returns the name, else NULL. Programs write thousands of those. */
static const char *escaped_name(const char *pattern, struct arena *arena)
{
	char *name = arena_strndup(arena, pattern, strlen(pattern)), *to = name;

	if (!name || *pattern++ != '^')
		return NULL;
	for (; *pattern; pattern++) {
		if (strcmp(pattern, "$") == 0) {
			*to = 0;
			return name;
		}
		if (*pattern == '\\' ? !ispunct((unsigned char)*++pattern) : !!strchr(".^$*+?()[]{}|", *pattern))
			return NULL;
		*to++ = *pattern;
	}
	return NULL;
}

/* True if a key of extra_config is a name, not a pattern. */
static bool overrides_is_plain(const char *key)
{
	return !strpbrk(key, "*+?^$()[]{}|\\");
}

/* Reads a number that may be absent or null. */
static int overrides_read_number(const struct overrides_reader *r, const struct json *member, const char *key,
    int64_t *out)
{
	const struct json *value = json_get(member, key);
	const int64_t least = strcmp(key, "bits") == 0 ? 0 : -1, most = strcmp(key, "bits") == 0 ? BITS_MAX : INT32_MAX;

	if (!json_is_number(value))
		return 0;
	if (json_integer(value, out) && *out >= least && *out <= most)
		return 0;
	return err_set(r->err, -EBADMSG, "%s: \"%.200s\": %s is not a whole number from %lld to %lld; correct it",
	    r->file, json_key(member), key, (long long)least, (long long)most);
}

static int add_override(const struct overrides_reader *r, const struct json *member, bool dynamic)
{
	struct override *e = &r->out->list[r->out->count];
	const char *key = json_key(member);
	int rc;

	*e = (struct override){.anchored = dynamic};
	if (dynamic && (strncmp(key, "-:", 2) == 0 || strncmp(key, "+:", 2) == 0)) {
		e->negative = key[0] == '-';
		key += 2;
	}
	e->pattern.text = arena_strndup(r->arena, key, strlen(key));
	if (!e->pattern.text)
		return err_memory(r->err);
	e->name = !dynamic && overrides_is_plain(key) ? e->pattern.text : escaped_name(key, r->arena);
	rc = overrides_read_number(r, member, "bits", &e->bits);
	if (rc == 0)
		rc = overrides_read_number(r, member, "group_size", &e->group_size);
	if (e->name)
		r->out->names[r->out->name_count++] = e;
	else
		r->out->patterns[r->out->pattern_count++] = e;
	e->has_sym = json_get(member, "sym") != NULL;
	e->sym = json_bool(json_get(member, "sym"), true);
	r->out->syms |= e->has_sym;
	r->out->group_sizes |= e->group_size != 0;
	r->out->count++;
	return rc;
}

/* Adds one kind of members: negatives and names are added first. */
static int add_half(const struct overrides_reader *r, const struct json *object, bool dynamic, bool first)
{
	int rc = 0;

	if (!json_is_object(object))
		return 0;
	for (const struct json *m = json_first(object); rc == 0 && m; m = json_after(m)) {
		const char *key = json_key(m);

		if ((dynamic ? strncmp(key, "-:", 2) == 0 : overrides_is_plain(key)) == first)
			rc = add_override(r, m, dynamic);
	}
	return rc;
}

static int compare_overrides(const void *a_, const void *b_)
{
	const struct override *a = *(struct override *const *)a_, *b = *(struct override *const *)b_;
	const int order = strcmp(a->name, b->name);

	return order ? order : (a > b) - (a < b);
}

int overrides_read(const char *file, const struct json *quant, struct arena *arena, struct overrides *out,
    struct gptqfs_error *err)
{
	const struct json *dynamic = json_get(quant, "dynamic"), *extra = json_get(quant, "extra_config");
	const size_t room = json_count(dynamic) + json_count(extra);
	const struct overrides_reader r = {file, arena, out, err};
	int rc;

	*out = (struct overrides){.list = arena_alloc(arena, room, sizeof(*out->list)),
	    .names = arena_alloc(arena, room, sizeof(*out->names)),
	    .patterns = arena_alloc(arena, room, sizeof(*out->patterns))};
	if (!out->list || !out->names || !out->patterns)
		return err_memory(err);
	rc = add_half(&r, dynamic, true, true);
	if (rc == 0)
		rc = add_half(&r, dynamic, true, false);
	if (rc == 0)
		rc = add_half(&r, extra, false, true);
	if (rc == 0)
		rc = add_half(&r, extra, false, false);
	if (rc)
		return rc;
	qsort(out->names, out->name_count, sizeof(*out->names), compare_overrides);
	out->set = out->pattern_count ? patterns_new(arena) : NULL;
	return out->pattern_count && !out->set ? err_memory(err) : 0;
}

void overrides_bind(struct overrides *o, override_module_fn *is_module, const void *ctx)
{
	size_t kept = 0;

	for (size_t i = 0; i < o->pattern_count; i++) {
		struct override *e = o->patterns[i];

		if (!e->anchored && is_module(ctx, e->pattern.text)) {
			e->name = e->pattern.text;
			o->names[o->name_count++] = e;
		} else {
			o->patterns[kept++] = e;
		}
	}
	o->pattern_count = kept;
	if (o->name_count)
		qsort(o->names, o->name_count, sizeof(*o->names), compare_overrides);
}

/* ---- finding ---- */

/* Returns the first override for exactly this module. */
static struct override *find_by_name(const struct overrides *o, const char *module)
{
	size_t low = 0, high = o->name_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (strcmp(o->names[middle]->name, module) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low < o->name_count && strcmp(o->names[low]->name, module) == 0 ? o->names[low] : NULL;
}

int overrides_find(const struct overrides *o, const char *module, const struct override **found)
{
	const struct override *named = find_by_name(o, module);

	*found = named;
	for (size_t i = 0; i < o->pattern_count; i++) {
		int rc;

		/* Names in extra_config take precedence over its patterns. */
		if (named && (named->anchored ? o->patterns[i] > named : !o->patterns[i]->anchored))
			break;
		rc = pattern_try(o->set, &o->patterns[i]->pattern, module, o->patterns[i]->anchored);
		if (rc) {
			*found = o->patterns[i];
			return rc > 0 ? 0 : -ENOTSUP;
		}
	}
	return 0;
}

int overrides_find_size(const struct overrides *o, const char *module, const struct override **found)
{
	*found = NULL;
	return o->group_sizes ? overrides_find(o, module, found) : 0;
}
