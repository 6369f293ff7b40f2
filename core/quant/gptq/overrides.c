/* SPDX-License-Identifier: MIT */
#include "quant/gptq/overrides.h"

#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <string.h>

#define PATTERN_MAX 4096

static bool add(struct overrides *o, const struct json *member, bool anchored, struct arena *arena)
{
	struct override *e = &o->list[o->count];
	const char *key = json_key(member);

	*e = (struct override){.anchored = anchored};
	if (anchored && (strncmp(key, "-:", 2) == 0 || strncmp(key, "+:", 2) == 0)) {
		e->negative = key[0] == '-';
		key += 2;
	}
	e->pattern = arena_strndup(arena, key, strlen(key));
	json_integer(json_get(member, "bits"), &e->bits);
	json_integer(json_get(member, "group_size"), &e->group_size);
	o->count++;
	return e->pattern != NULL;
}

int overrides_read(const struct json *quant, struct arena *arena, struct overrides *out)
{
	const struct json *dynamic = json_get(quant, "dynamic"), *extra = json_get(quant, "extra_config");
	bool good = true;

	*out =
	    (struct overrides){.list = arena_alloc(arena, json_count(dynamic) + json_count(extra), sizeof(*out->list))};
	if (!out->list)
		return -ENOMEM;
	if (json_is_object(dynamic))
		for (const struct json *m = json_first(dynamic); m; m = json_after(m))
			good &= add(out, m, true, arena);
	if (json_is_object(extra))
		for (const struct json *m = json_first(extra); m; m = json_after(m))
			good &= add(out, m, false, arena);
	return good ? 0 : -ENOMEM;
}

/*
 * The pattern of one name, "^name$" with punctuation escaped: 1 or 0, or -1 if it is another pattern. Programs write
 * thousands of them, so this is worth not compiling; and what looks like a class in them is none.
 */
static int matches_name(const char *pattern, const char *module)
{
	bool same = true;

	if (*pattern++ != '^')
		return -1;
	for (; *pattern; pattern++) {
		if (strcmp(pattern, "$") == 0)
			return same && !*module;
		if (*pattern == '\\' ? !ispunct((unsigned char)*++pattern) : !!strchr(".^$*+?()[]{}|", *pattern))
			return -1;
		same = same && *module++ == *pattern;
	}
	return -1;
}

/* 1 if the pattern matches, 0 if not, -ENOTSUP if it cannot be said. */
static int matches(const struct override *e, const char *module)
{
	char anchored[PATTERN_MAX];
	regex_t regex;
	int rc = matches_name(e->pattern, module);

	if (rc >= 0)
		return rc;
	if (!e->anchored && strcmp(e->pattern, module) == 0)
		return 1;
	/* A group that is none, and classes that POSIX lacks: regcomp would take some of them for something else. */
	if (strstr(e->pattern, "(?") || strstr(e->pattern, "\\d") || strstr(e->pattern, "\\D"))
		return -ENOTSUP;
	if (snprintf(anchored, sizeof(anchored), e->anchored ? "^(%s)" : "%s", e->pattern) >= PATTERN_MAX)
		return -ENOTSUP;
	if (regcomp(&regex, anchored, REG_EXTENDED | REG_NOSUB))
		return -ENOTSUP;
	rc = regexec(&regex, module, 0, NULL, 0) == 0;
	regfree(&regex);
	return rc;
}

/* The first that matches among the negative ones or among the others. */
static int find_among(const struct overrides *o, const char *module, bool negative, const struct override **found)
{
	for (size_t i = 0; i < o->count; i++) {
		int rc = o->list[i].negative == negative ? matches(&o->list[i], module) : 0;

		if (rc) {
			*found = &o->list[i];
			return rc > 0 ? 0 : rc;
		}
	}
	return 0;
}

int overrides_find(const struct overrides *o, const char *module, const struct override **found)
{
	int rc;

	*found = NULL;
	rc = find_among(o, module, true, found);
	return rc || *found ? rc : find_among(o, module, false, found);
}
