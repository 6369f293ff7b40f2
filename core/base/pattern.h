/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PATTERN_H
#define GPTQFS_PATTERN_H

/*
 * Untrusted regular expressions. They are PCRE2's, which only this file knows. All patterns of a set share bounds on
 * the cost of compiling and matching, so that no configuration can hang or bloat the program: a pattern that runs
 * forever takes only twenty bytes.
 */

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"

struct patterns;
struct pattern;

/* Returns an empty set, which lives in the arena; NULL if out of memory. */
struct patterns *patterns_new(struct arena *arena);

/* Compiles a pattern, which lives as long as the set. On failure returns NULL, with the reason in *fault. */
const struct pattern *pattern_compile(struct patterns *set, const char *text, const char **fault);

/*
 * Searches a name for the pattern: at its start if `anchored`, else anywhere. Returns 1 if found, 0 if not, and -1 with
 * the reason in *fault if the bounds do not allow an answer. Not thread-safe.
 */
int pattern_match(struct patterns *set, const struct pattern *pattern, const char *name, bool anchored,
    const char **fault);

/* A pattern that is compiled when it is first tried. Only `text` need be set. */
struct lazy_pattern {
	const char *text;
	const struct pattern *compiled;
	const char *fault; /* why it cannot be compiled or matched, once that was tried */
};

/* As pattern_match, with the reason in p->fault. A pattern that exceeded the bounds once is not tried again. */
int pattern_try(struct patterns *set, struct lazy_pattern *p, const char *name, bool anchored);

#endif
