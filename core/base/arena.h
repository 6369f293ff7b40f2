/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ARENA_H
#define GPTQFS_ARENA_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Memory that lives as long as its owner: names, shapes, nodes. A zeroed struct is an empty arena. Not thread safe;
 * an arena is filled while a model opens and only read afterwards.
 */
struct arena {
	struct arena_chunk *chunks;
	size_t bytes;  /* allocated */
	size_t limit;  /* the most that may be; 0: any number */
	bool exceeded; /* an allocation failed because of the limit */
};

/* Zeroed memory for count elements of size bytes, aligned for any type; NULL when there is none, the limit is
 * reached or count * size overflows. */
void *arena_alloc(struct arena *arena, size_t count, size_t size);

/* A terminated copy of len bytes, or NULL. */
char *arena_strndup(struct arena *arena, const char *s, size_t len);

/* printf into the arena, or NULL. */
__attribute__((format(printf, 2, 3))) char *arena_printf(struct arena *arena, const char *fmt, ...);

/* Frees everything; the arena is empty again. */
void arena_free(struct arena *arena);

#endif
