/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PAGER_H
#define GPTQFS_PAGER_H

/*
 * Pages of source files: read and mapped before a reader needs them, unmapped after it has passed. Knows only spans of
 * files, not what is computed from them. All of it is advice: if it fails or comes too late, reads are slower, nothing
 * else. Any number of threads.
 *
 * Pages that are in memory take only a few microseconds per megabyte read. A dedicated thread would take that time from
 * the reader, on whose CPU it would be woken, so threads that have just sent a reply do it bit by bit: pager_work. The
 * pager's own thread, started when first needed, reads from disk, and does work that is overdue or waited for.
 */

#include "file/span.h"

struct pager;

/* The operations on a part of a file: those of file/pages.h, except in tests. Called by any thread, without locks. */
struct pager_io {
	bool (*resident)(const struct source_file *f, uint64_t offset, uint64_t len);
	void (*fetch)(const struct source_file *f, uint64_t offset, uint64_t len);
	void (*populate)(const struct source_file *f, uint64_t offset, uint64_t len);
	void (*unpopulate)(const struct source_file *f, uint64_t offset, uint64_t len);
};

/* `io` may be NULL for the default. Returns NULL if out of memory. */
struct pager *pager_new(const struct pager_io *io);

/* Waits for the step in progress. NULL is allowed. */
void pager_free(struct pager *p);

/*
 * Queues bytes to be read from disk now; those with a shared `resident` flag only once, until released. Never waits.
 * Returns false, with nothing queued, if the queue is too long.
 */
bool pager_fetch(struct pager *p, const struct needs *needs);

/* Queues bytes to be read a little later and then mapped. Likewise. */
bool pager_plan(struct pager *p, const struct needs *needs);

/* Queues bytes to be unmapped; those with a `resident` flag if they were fetched. Returns false as above. */
bool pager_release(struct pager *p, const struct needs *needs);

/* True if work is pending that pager_work can do. */
bool pager_has_work(struct pager *p);

/* Does about 20 microseconds of that work without waiting for the disk; call it while idle. */
void pager_work(struct pager *p);

/*
 * Waits while any of these bytes are queued or being fetched, and moves them to the front. For large reads: touching
 * the same pages meanwhile would break up the pager's sequential reads.
 */
void pager_wait(struct pager *p, const struct needs *needs);

#endif
