/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ARENA_H
#define GPTQFS_ARENA_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Memory that lives as long as its owner: names, shapes, nodes. A zeroed struct is an empty arena. Not thread-safe: an
 * arena is filled while a model opens and only read afterwards.
 */
struct arena {
	struct arena_chunk *chunks;
	size_t bytes;  /* allocated */
	size_t limit;  /* most bytes to allocate; 0: no limit */
	bool exceeded; /* an allocation failed because of the limit */
	bool failed;   /* an allocation failed because there was no memory */
};

/*
 * Returns zeroed memory for count elements of size bytes, aligned for any type; NULL if out of memory, beyond the limit
 * or if count * size overflows.
 */
void *arena_alloc(struct arena *arena, size_t count, size_t size);

/* Returns a NUL-terminated copy of len bytes, or NULL. */
char *arena_strndup(struct arena *arena, const char *s, size_t len);

/* Returns the formatted string, or NULL. */
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *arena, const char *fmt, ...);

/* Frees everything; the arena is empty again. */
void arena_free(struct arena *arena);

#endif
