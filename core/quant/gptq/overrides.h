/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_OVERRIDES_H
#define GPTQFS_OVERRIDES_H

/*
 * Configuration of single modules: GPTQModel's `dynamic` and AutoRound's `extra_config`. Nearly all of it follows from
 * shapes, which take precedence; this is for the rest, the group size of a module without g_idx, and what zeros must
 * be.
 *
 * `dynamic` maps patterns, matched at the start of the module's name, to fields; the prefix "-:" means "not quantized",
 * "+:" or none "overridden". Negative patterns take precedence. `extra_config` maps names, which take precedence, and
 * patterns, which match anywhere. A pattern that cannot be evaluated is not guessed at.
 */

#include "base/arena.h"
#include "base/json.h"
#include "base/pattern.h"

struct override {
	struct lazy_pattern pattern;
	const char *name; /* the only module it matches; NULL for a pattern */
	bool anchored;    /* from dynamic: matches at the start only */
	bool negative;
	int64_t bits;       /* 0 if absent */
	int64_t group_size; /* likewise; -1 for one group */
	bool has_sym, sym;
};

struct overrides {
	struct override *list; /* the first match counts */
	size_t count;
	struct override **names; /* those for one module, sorted by name */
	size_t name_count;
	struct override **patterns; /* the others, in the order of the list */
	size_t pattern_count;
	struct patterns *set;
	bool group_sizes; /* any of them has a group size */
	bool syms;        /* any of them says sym */
};

/*
 * Reads both from the quantization configuration `quant` of the file `file`. Everything goes to the arena. Returns 0,
 * -EBADMSG (number out of range) or -ENOMEM.
 */
int overrides_read(const char *file, const struct json *quant, struct arena *arena, struct overrides *out,
    struct gptqfs_error *err);

/*
 * Sets how to recognise names of modules. A key of extra_config that is a module's name applies to that module only,
 * whatever else it would match.
 */
typedef bool override_module_fn(const void *ctx, const char *name);
void overrides_bind(struct overrides *o, override_module_fn *is_module, const void *ctx);

/*
 * Finds the override of a module, or NULL. Returns 0, or -ENOTSUP, with *found set, if a pattern that would have to be
 * tried cannot be evaluated. Compiles patterns on first use, so not thread-safe.
 */
int overrides_find(const struct overrides *o, const char *module, const struct override **found);

/* The same if only the group size matters: quick if no override has one. */
int overrides_find_size(const struct overrides *o, const char *module, const struct override **found);

#endif
