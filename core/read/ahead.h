/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_AHEAD_H
#define GPTQFS_AHEAD_H

/*
 * Computes a few requests ahead of sequential readers: after sending a reply, a thread computes the next request that
 * no other thread is computing, while the reader is still copying. The kernel's own readahead issues one request at a
 * time, and with O_DIRECT nothing else reads ahead. Any number of threads.
 */

#include "read/reader.h"

struct ahead;

/*
 * Computes at most `depth` requests ahead of each reader, 0 to GPTQFS_AHEAD_MAX: one per serving thread, or some would
 * find nothing to compute. Returns NULL if out of memory.
 */
struct ahead *ahead_new(struct reader *reader, unsigned depth);
void ahead_free(struct ahead *a); /* no read may be in progress; NULL is allowed */

/* Announces a request. Returns true if recent requests came from one sequential reader. */
bool ahead_note(struct ahead *a, const struct range *range);

/* As reader_read, but uses a block computed ahead if there is one for exactly this range. */
int ahead_read(struct ahead *a, const struct range *range, struct gptqfs_reply *reply);

/*
 * Call after the reply to `range` was sent and freed. If the file is read sequentially, computes the next range that is
 * neither requested nor being computed yet.
 */
void ahead_continue(struct ahead *a, const struct range *range);

/* Queues the sources of the extents that end in (from, end] to be unmapped. */
void ahead_release(struct ahead *a, const struct layout *layout, uint64_t from, uint64_t end);

/* Frees blocks unused for two calls. Returns true while any is left. */
bool ahead_trim(struct ahead *a);

#endif
