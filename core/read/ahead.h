/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_AHEAD_H
#define GPTQFS_AHEAD_H

/*
 * Reads of a file from front to back, a few requests ahead: once a reply is on its way, the thread that sent it
 * computes what will be asked for next and is not being computed yet, while the reader still copies. The kernel's own
 * readahead asks for one request at a time too, and with O_DIRECT nothing else reads ahead. Any number of threads.
 */

#include "read/reader.h"

struct ahead;

/* Computes at most `depth` requests of each reader ahead, 1 to GPTQFS_AHEAD_MAX: one for each thread that serves it,
 * or some would find nothing to compute. NULL for lack of memory. */
struct ahead *ahead_new(struct reader *reader, unsigned depth);
void ahead_free(struct ahead *a); /* no read may be in progress; NULL is allowed */

/* Notes a request that is about to be read. True if those of late come from one sequential reader. */
bool ahead_note(struct ahead *a, const struct range *range);

/* As reader_read: from what was computed ahead, if that is this range, else computed now. */
int ahead_read(struct ahead *a, const struct range *range, struct gptqfs_reply *reply);

/* Call after the reply to `range` has been sent and done with. If ranges of its file have followed one another,
 * computes the first of the next ones that is neither asked for nor being computed. */
void ahead_continue(struct ahead *a, const struct range *range);

/* Frees blocks unused for two calls. True while any is left. */
bool ahead_trim(struct ahead *a);

#endif
