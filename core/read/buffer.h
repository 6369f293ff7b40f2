/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_BUFFER_H
#define GPTQFS_BUFFER_H

/*
 * Owners of the bytes of replies: a buffer each, with pins on cached rows. Few, and reused last-in first-out, so that a
 * read gets one that is still in the CPU's cache: rows are decoded into it, and the kernel copies them from there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gptqfs.h"

struct buffers;

struct buffer {
	unsigned char *data; /* BUFFER_BYTES, aligned to its size */
	struct buffer *next;
	unsigned age;
	/* Of the current read. */
	const struct layout *layout;
	uint64_t offset;
	int pins;
	struct cache_entry *pinned[GPTQFS_IOV_MAX];
};

/* A read, half as much again for the rest of the rows it cuts, and alignment. */
#define BUFFER_BYTES ((size_t)2 << 20)

struct buffers *buffers_new(void);
void buffers_free(struct buffers *b); /* all buffers must be back; NULL is allowed */

/* Returns NULL if out of memory. */
struct buffer *buffer_get(struct buffers *b);
void buffer_put(struct buffers *b, struct buffer *buffer);

/* Frees buffers unused for two calls. Returns true while any is left. */
bool buffers_trim(struct buffers *b);

#endif
