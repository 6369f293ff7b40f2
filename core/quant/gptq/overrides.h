/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_OVERRIDES_H
#define GPTQFS_OVERRIDES_H

/*
 * What a configuration says of single modules: GPTQModel's `dynamic` and AutoRound's `extra_config`. Nearly all of it
 * is visible in the shapes, which are believed first; this is for what they leave open, the group size of a module
 * without g_idx.
 *
 * `dynamic` maps patterns, matched at the start of the module's name, to fields; "-:" before a pattern says "not
 * quantized", "+:" or nothing "overridden". The negative ones come first. `extra_config` maps names, which come first,
 * and patterns, which match anywhere. A pattern that cannot be evaluated is not guessed at.
 */

#include "base/arena.h"
#include "base/json.h"

struct pattern;
struct patterns;

struct override {
	const char *pattern;
	const char *name; /* of the one module it means; NULL for a true pattern */
	bool anchored;    /* of dynamic: matches at the start only */
	bool negative;
	int64_t bits;       /* 0 if not said */
	int64_t group_size; /* likewise; -1 for one group */
	bool asym;          /* said not to be symmetric */
	const struct pattern *compiled;
	const char *fault; /* why it cannot be evaluated, once that was tried */
};

struct overrides {
	struct override *list; /* the first that matches counts */
	size_t count;
	struct override **names; /* those that mean one module, by name */
	size_t name_count;
	struct override **patterns; /* the others, in the order of the list */
	size_t pattern_count;
	struct patterns *set;
	bool group_sizes; /* any of them says a group size */
	bool asyms;       /* any of them says "not symmetric" */
};

/*
 * Reads both from the quantization configuration `quant` of the file `file`. Everything goes to the arena. Returns 0,
 * -EBADMSG (a number out of range) or -ENOMEM.
 */
int overrides_read(const char *file, const struct json *quant, struct arena *arena, struct overrides *out,
    struct gptqfs_error *err);

/*
 * Tells which names are modules' (`is_module`). A key of extra_config that is one means that module alone, whatever
 * else it would match.
 */
typedef bool override_module_fn(const void *ctx, const char *name);
void overrides_bind(struct overrides *o, override_module_fn *is_module, const void *ctx);

/*
 * Finds the override that counts for a module, NULL if there is none. Returns 0; -ENOTSUP if a pattern that would have
 * to be tried cannot be, with *found set to it. Compiles patterns when they are first tried, so one thread at a time.
 */
int overrides_find(const struct overrides *o, const char *module, const struct override **found);

/* The same where only a group size matters: nothing is looked for where none is said. */
int overrides_find_size(const struct overrides *o, const char *module, const struct override **found);

#endif
