/* SPDX-License-Identifier: MIT */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct arena_chunk {
	struct arena_chunk *next;
	size_t used, size;
	_Alignas(max_align_t) unsigned char data[];
};

#define CHUNK_BYTES ((size_t)64 << 10)

static struct arena_chunk *chunk_new(struct arena *arena, size_t bytes)
{
	size_t size = bytes > CHUNK_BYTES / 4 ? bytes : CHUNK_BYTES;
	struct arena_chunk *chunk;

	if (arena->limit && (arena->bytes > arena->limit || size > arena->limit - arena->bytes)) {
		arena->exceeded = true;
		return NULL;
	}
	chunk = calloc(1, sizeof(*chunk) + size);
	arena->failed |= !chunk;
	if (!chunk)
		return NULL;
	arena->bytes += size;
	chunk->size = size;
	/* A chunk made for one large object is full: keep the current one in front, as it has room left. */
	if (arena->chunks && size != CHUNK_BYTES) {
		chunk->next = arena->chunks->next;
		arena->chunks->next = chunk;
	} else {
		chunk->next = arena->chunks;
		arena->chunks = chunk;
	}
	return chunk;
}

/* Returns room at the end of the current chunk, or in a new one. */
static void *arena_take(struct arena *arena, size_t bytes, size_t align)
{
	struct arena_chunk *chunk = arena->chunks;
	size_t from = chunk ? (chunk->used + align - 1) / align * align : 0;

	if (!chunk || from > chunk->size || bytes > chunk->size - from) {
		chunk = chunk_new(arena, bytes);
		from = 0;
	}
	if (!chunk)
		return NULL;
	chunk->used = from + bytes;
	return chunk->data + from;
}

void *arena_alloc(struct arena *arena, size_t count, size_t size)
{
	size_t bytes;

	if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX - 4096)
		return NULL;
	return arena_take(arena, bytes, _Alignof(max_align_t));
}

char *arena_strndup(struct arena *arena, const char *s, size_t len)
{
	char *copy = len < PTRDIFF_MAX - 4096 ? arena_take(arena, len + 1, 1) : NULL;

	return copy ? memcpy(copy, s, len) : NULL;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
	va_list args;
	char *s = NULL, *copy = NULL;
	int len;

	va_start(args, fmt);
	len = vasprintf(&s, fmt, args);
	va_end(args);
	arena->failed |= len < 0;
	if (len < 0)
		return NULL;
	copy = arena_strndup(arena, s, (size_t)len);
	free(s);
	return copy;
}

void arena_free(struct arena *arena)
{
	while (arena->chunks) {
		struct arena_chunk *next = arena->chunks->next;

		free(arena->chunks);
		arena->chunks = next;
	}
	arena->bytes = 0;
}
