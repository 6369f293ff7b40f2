/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PATTERN_H
#define GPTQFS_PATTERN_H

/*
 * Patterns from strangers. They are PCRE2's, and this is the only part that knows it. All patterns of a set share
 * bounds on what they may cost to compile and to match, so that no configuration can stop or bloat the program: twenty
 * bytes suffice for a pattern that would run for ever.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

struct patterns;
struct pattern;

/* An empty set, which lives in the arena; NULL if there is no memory. */
struct patterns *patterns_new(struct arena *arena);

/* Compiles a pattern, which lives as long as the set. Returns NULL, and why in *fault, if that cannot be done. */
const struct pattern *pattern_compile(struct patterns *set, const char *text, const char **fault);

/*
 * Looks for the pattern in a name: at its start if `anchored`, anywhere otherwise. Returns 1 if it is there, 0 if not;
 * -1, and why in *fault, if that cannot be said.
 */
int pattern_match(struct patterns *set, const struct pattern *pattern, const char *name, bool anchored,
    const char **fault);

#endif
