/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_READER_H
#define GPTQFS_READER_H

/*
 * Reads a range of a virtual file: the bytes of its extents, computed if need be. Any number of threads; no lock is
 * held while bytes are computed.
 */

#include <stdatomic.h>

#include "gptqfs.h"
#include "read/buffer.h"
#include "read/cache.h"
#include "read/pager.h"

/* Shared by all reads. */
struct reader {
	struct cache *cache;
	struct buffers *buffers;
	struct pager *pager;
	atomic_uint_fast64_t computed; /* bytes decoded or cast, including discarded ones */
};

struct layout;

struct range {
	const struct layout *layout;
	uint64_t offset;
	size_t size; /* at most GPTQFS_READ_MAX, and within the file */
};

/* Returns 0, -EIO or -ENOMEM. After success the reply must go to reader_done; after failure it must not. */
int reader_read(struct reader *reader, const struct range *range, struct gptqfs_reply *reply);

/* Frees the reply. Returns the range that was read, of size 0 if the reply was empty. */
struct range reader_done(struct reader *reader, struct gptqfs_reply *reply);

#endif
