/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PAGER_H
#define GPTQFS_PAGER_H

/*
 * Pages of source files: read and mapped before a reader needs them, unmapped after it has passed. Knows spans of files
 * and nothing of what is computed from them. All of it is advice: where it fails or comes too late, reads are slower
 * and nothing else. Functions may be called by any thread at any time before pager_free.
 *
 * What is in memory already needs only a few microseconds for each megabyte that is read. A thread of its own would
 * take that time from the reader, on whose CPU it would be woken, so threads that have just sent a reply do it, bit by
 * bit: pager_work. The thread here, started when first needed, reads from disk, and does what is waited for or was left
 * undone for a while.
 */

#include "file/span.h"

struct pager;

/* What is done with a part of a file; the pages of file/ but in tests. Any thread, no lock held. */
struct pager_io {
	bool (*resident)(const struct source_file *f, uint64_t offset, uint64_t len);
	void (*fetch)(const struct source_file *f, uint64_t offset, uint64_t len);
	void (*populate)(const struct source_file *f, uint64_t offset, uint64_t len);
	void (*unpopulate)(const struct source_file *f, uint64_t offset, uint64_t len);
};

/* `io` may be NULL for the usual one. Returns NULL if out of memory. */
struct pager *pager_new(const struct pager_io *io);

/* Finishes the step under way. NULL is allowed. */
void pager_free(struct pager *p);

/* Has these bytes read from disk now; those that share a `resident` flag once, until they are released. Never waits.
 * False if too much is queued already; nothing has been asked for then. */
bool pager_fetch(struct pager *p, const struct needs *needs);

/* The same a little later, and maps them too. */
bool pager_plan(struct pager *p, const struct needs *needs);

/* Has mapped bytes unmapped; those with a `resident` flag if they were fetched. False as above. */
bool pager_release(struct pager *p, const struct needs *needs);

/* True if work is pending that pager_work can do. */
bool pager_has_work(struct pager *p);

/* Does about 20 microseconds of it without waiting for the disk; call it while idle. */
void pager_work(struct pager *p);

/*
 * Waits while any of these bytes are queued or being fetched, and moves them to the front. Large reads call it: reading
 * the same pages at the same time would break what the pager reads in order into pieces.
 */
void pager_wait(struct pager *p, const struct needs *needs);

#endif
