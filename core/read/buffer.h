/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_BUFFER_H
#define GPTQFS_BUFFER_H

/*
 * What replies are held by: a buffer each, and the cached rows it points at. Few and reused last-in first-out, so that
 * the one a read gets is still in the CPU's cache: rows are decoded into it, and the kernel copies it to the reader
 * from there.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gptqfs.h"

struct buffers;

struct buffer {
	unsigned char *data; /* BUFFER_BYTES, aligned to as much */
	struct buffer *next;
	unsigned age;
	/* Of the read it is used for. */
	const struct layout *layout;
	uint64_t offset;
	int pins;
	struct cache_entry *pinned[GPTQFS_IOV_MAX];
};

/* A read, half as much again for the parts of rows around it, and alignment. */
#define BUFFER_BYTES ((size_t)2 << 20)

struct buffers *buffers_new(void);
void buffers_free(struct buffers *b); /* all buffers must be back; NULL is allowed */

/* NULL for lack of memory. */
struct buffer *buffer_get(struct buffers *b);
void buffer_put(struct buffers *b, struct buffer *buffer);

/* Frees buffers that were not needed since the call before last. True while any are left. */
bool buffers_trim(struct buffers *b);

#endif
