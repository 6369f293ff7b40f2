/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PAGER_H
#define GPTQFS_PAGER_H

/*
 * The pages of source files that bytes are computed from: had from disk and mapped ahead of whoever will need them,
 * given back behind. All of it is advice: where it fails or comes too late, reads are slower and nothing else.
 * Functions may be called by any thread at any time before pager_free.
 *
 * What is in memory already needs but a few microseconds for each megabyte that is read. A thread of its own would take
 * that time from the reader, whose processor it would be woken on, so it is for threads to do that have just answered,
 * bit by bit: pager_work. The thread here, begun when first needed, reads from disk, and does what is waited for, or
 * was left undone for a while.
 */

#include "tree/layout.h"

struct pager;

/* NULL for lack of memory. */
struct pager *pager_new(void);
void pager_free(struct pager *p); /* what is under way is finished first; NULL is allowed */

/*
 * Asks for a part of an extent to be had from disk at once (a dequantized tensor always whole, and once); for the same
 * and to be mapped before it will be needed; for a whole extent's pages to be given back. Never waits. False if too
 * much is waiting already; nothing has been asked for then.
 */
bool pager_fetch(struct pager *p, const struct extent *e, uint64_t from, uint64_t length);
bool pager_plan(struct pager *p, const struct extent *e, uint64_t from, uint64_t length);
bool pager_release(struct pager *p, const struct extent *e);

/* Is there anything to help with? And does a little of it, some 20 microseconds' worth, without waiting for the disk.
 */
bool pager_has_work(struct pager *p);
void pager_work(struct pager *p);

/*
 * Waits while that part of an extent is being fetched, or is still to be, which then comes before what nobody waits
 * for. For who reads much: going to the disk for the same pages at the same time would break what the pager reads in
 * order into pieces.
 */
void pager_wait(struct pager *p, const struct extent *e, uint64_t from, uint64_t length);

#endif
