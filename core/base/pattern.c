/* SPDX-License-Identifier: MIT */
#include "base/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdint.h>
#include <string.h>

/* Limits of one pattern and of one name, both far above real ones. */
#define TEXT_MAX 4096
#define NAME_MAX_BYTES 4096
#define NEST_MAX 100

/* Limits of a whole set: compiled code, and pattern items tried, some 50 ns each. */
#define CODE_BYTES_MAX ((size_t)16 << 20)
#define STEPS_MAX 20000000

/* Limits of one match. */
#define MATCH_STEPS_MAX 1000000
#define MATCH_HEAP_KIB 4096

struct patterns {
	struct arena *arena;
	size_t code_bytes;
	uint64_t steps; /* spent on matching so far */
	pcre2_compile_context *compile;
	pcre2_match_context *match;
	pcre2_match_data *data; /* of one match after another: its memory is kept */
};

/* Compiled patterns are allocated in the arena, which frees them all at once. */
static void *allocate(size_t bytes, void *set_)
{
	struct patterns *set = set_;

	if (bytes > CODE_BYTES_MAX - set->code_bytes)
		return NULL;
	set->code_bytes += bytes;
	return arena_alloc(set->arena, bytes, 1);
}

/* What matching needs, which is bounded by MATCH_HEAP_KIB: PCRE2 doubles it until it is enough. */
static void *allocate_frames(size_t bytes, void *set)
{
	return arena_alloc(((struct patterns *)set)->arena, bytes, 1);
}

static void forget(void *p, void *set)
{
	(void)p;
	(void)set;
}

/* Called before each item of a pattern is tried. Unlike time, the count is the same on every machine. */
static int count_step(pcre2_callout_block *block, void *set_)
{
	struct patterns *set = set_;

	(void)block;
	return ++set->steps > STEPS_MAX ? PCRE2_ERROR_CALLOUT : 0;
}

struct patterns *patterns_new(struct arena *arena)
{
	struct patterns *set = arena_alloc(arena, 1, sizeof(*set));
	pcre2_general_context *memory, *frames;

	if (!set)
		return NULL;
	set->arena = arena;
	memory = pcre2_general_context_create(allocate, forget, set);
	frames = pcre2_general_context_create(allocate_frames, forget, set);
	if (!memory || !frames)
		return NULL;
	set->compile = pcre2_compile_context_create(memory);
	set->match = pcre2_match_context_create(memory);
	set->data = pcre2_match_data_create(1, frames);
	if (!set->compile || !set->match || !set->data)
		return NULL;
	pcre2_set_max_pattern_length(set->compile, TEXT_MAX);
	pcre2_set_parens_nest_limit(set->compile, NEST_MAX);
	pcre2_set_match_limit(set->match, MATCH_STEPS_MAX);
	pcre2_set_depth_limit(set->match, MATCH_STEPS_MAX);
	pcre2_set_heap_limit(set->match, MATCH_HEAP_KIB);
	pcre2_set_callout(set->match, count_step, set);
	return set;
}

const struct pattern *pattern_compile(struct patterns *set, const char *text, const char **fault)
{
	int code;
	PCRE2_SIZE at;
	pcre2_code *compiled = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED,
	    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C | PCRE2_AUTO_CALLOUT, &code, &at, set->compile);

	if (!compiled) {
		PCRE2_UCHAR why[128] = "";

		pcre2_get_error_message(code, why, sizeof(why));
		*fault = arena_printf(set->arena, "cannot be used as a pattern: %s", why);
		if (!*fault)
			*fault = "is not a usable pattern";
	}
	return (const struct pattern *)compiled;
}

int pattern_match(struct patterns *set, const struct pattern *pattern, const char *name, bool anchored,
    const char **fault)
{
	const size_t len = strlen(name);
	int rc = PCRE2_ERROR_CALLOUT;

	if (++set->steps <= STEPS_MAX && len <= NAME_MAX_BYTES)
		rc = pcre2_match((const pcre2_code *)pattern, (PCRE2_SPTR)name, len, 0, anchored ? PCRE2_ANCHORED : 0,
		    set->data, set->match);
	if (rc >= 0)
		return 1 + (int)pcre2_get_ovector_pointer(set->data)[0];
	if (rc == PCRE2_ERROR_NOMATCH)
		return 0;
	*fault = set->steps > STEPS_MAX
	             ? "would have to be tried, but the patterns of this configuration take too many steps"
	             : "cannot be tried: it takes too many steps or too much memory";
	return -1;
}

int pattern_try(struct patterns *set, struct lazy_pattern *p, const char *name, bool anchored)
{
	if (!p->compiled && !p->fault)
		p->compiled = pattern_compile(set, p->text, &p->fault);
	return p->fault ? -1 : pattern_match(set, p->compiled, name, anchored, &p->fault);
}
