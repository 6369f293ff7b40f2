/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_OVERRIDES_H
#define GPTQFS_OVERRIDES_H

/*
 * What a configuration says of single modules: GPTQModel's `dynamic` and AutoRound's `extra_config`. Nearly all of it
 * is visible in the shapes, which are believed first; this is for what they leave open - the group size of a module
 * without g_idx.
 *
 * `dynamic` maps patterns, matched at the start of the module's name, to fields; "-:" before a pattern says "not
 * quantized", "+:" or nothing "overridden", the former come first. `extra_config` maps names, or patterns that match
 * anywhere. Patterns are PCRE; they are tried as POSIX extended expressions, and one that is none is not guessed at.
 */

#include "base/arena.h"
#include "base/json.h"

struct override {
	const char *pattern;
	bool anchored; /* of dynamic: matches at the start only */
	bool negative;
	int64_t bits;       /* 0 if not said */
	int64_t group_size; /* likewise; -1 for one group */
};

struct overrides {
	struct override *list;
	size_t count;
};

/* Reads both from a quantization configuration. Everything goes to the arena. Returns 0 or -ENOMEM. */
int overrides_read(const struct json *quant, struct arena *arena, struct overrides *out);

/*
 * The first override for a module. Returns 0, with *found NULL if there is none; -ENOTSUP if a pattern that would have
 * to be tried is not a POSIX expression, with *found set to it.
 */
int overrides_find(const struct overrides *o, const char *module, const struct override **found);

#endif
