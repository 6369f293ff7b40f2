/* SPDX-License-Identifier: MIT */
#include "checkpoint/subconfig.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

#define KEY "quantization_config"

struct subconfig_walk {
	struct arena *arena;
	struct subconfigs *out;
	struct gptqfs_error *err;
	int ranks[SUBCONFIGS_MAX];
};

/* A step on the path from the top of config.json to the current object. */
struct subconfig_step {
	const struct subconfig_step *up; /* NULL at the top */
	const char *key;
	int depth;
};

static bool has_any(const char *key, const char *const *words)
{
	for (; *words; words++)
		if (strstr(key, *words))
			return true;
	return false;
}

/* Returns the distance of a configuration from the text model: 0 at the top, then by kind of part and by depth. */
static int rank_of(const struct subconfig_step *at)
{
	static const char *const text[] = {"text", "llm", "language", "decoder", NULL};
	static const char *const other[] = {"vision", "visual", "audio", "speech", "talker", "encoder", "draft", NULL};
	int kind = at->up ? 1 : 0;

	for (const struct subconfig_step *s = at; s->up; s = s->up) {
		if (has_any(s->key, other))
			return 1000 + at->depth;
		if (has_any(s->key, text))
			kind = -1;
	}
	return kind > 0 ? 500 + at->depth : at->depth;
}

/* Returns "config.json (outer.inner)"; long paths keep only their innermost keys. */
static const char *describe(const struct subconfig_step *at, struct arena *arena)
{
	char path[128] = "";

	if (!at->up)
		return "config.json";
	for (const struct subconfig_step *s = at; s->up; s = s->up) {
		const size_t len = strlen(s->key), used = strlen(path);

		if (len + used + 2 > sizeof(path))
			break;
		memmove(path + len + (used > 0), path, used + 1);
		memcpy(path, s->key, len);
		if (used)
			path[len] = '.';
	}
	return arena_printf(arena, "config.json (%s)", path);
}

/* Inserts a configuration before those of higher rank. */
static int subconfig_insert(struct subconfig_walk *w, const struct subconfig_step *at, const struct json *json)
{
	const int rank = rank_of(at);
	size_t i = w->out->count;
	const char *where = describe(at, w->arena);

	if (!where)
		return err_memory(w->err);
	if (i == SUBCONFIGS_MAX)
		return err_set(w->err, -EBADMSG,
		    "config.json: more than %d objects called " KEY "; remove those that do not belong to the model",
		    SUBCONFIGS_MAX);
	for (; i > 0 && w->ranks[i - 1] > rank; i--) {
		w->ranks[i] = w->ranks[i - 1];
		w->out->list[i] = w->out->list[i - 1];
	}
	w->ranks[i] = rank;
	w->out->list[i] = (struct subconfig){where, json};
	w->out->count++;
	return 0;
}

static int descend(struct subconfig_walk *w, const struct subconfig_step *at, const struct json *json)
{
	int rc = 0;

	for (const struct json *m = json_first(json); rc == 0 && m; m = json_after(m)) {
		const char *key = json_key(m) ? json_key(m) : "[]";
		const struct subconfig_step down = {at, key, at->depth + 1};

		if (json_is_object(m) && strcmp(key, KEY) == 0)
			rc = subconfig_insert(w, at, m);
		else
			rc = descend(w, &down, m);
	}
	return rc;
}

int subconfig_list(const struct json *config, struct arena *arena, struct subconfigs *out, struct gptqfs_error *err)
{
	struct subconfig_walk w = {.arena = arena, .out = out, .err = err};
	const struct subconfig_step top = {0};

	out->count = 0;
	return descend(&w, &top, config);
}
