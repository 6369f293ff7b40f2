/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CACHE_H
#define GPTQFS_CACHE_H

/*
 * key -> bytes, computed once. The second level: the first is the kernel's page cache, which serves every repeated
 * read. This one bridges small reads that fall into one tile, and lets readers that want the same tile at the same
 * time wait for one of them to compute it (single flight).
 *
 * Knows nothing of tensors. Any number of threads; no lock is held while an entry is filled. A filler waits for
 * nothing, so pins held while waiting cannot deadlock.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cache;

struct cache_key {
	const void *owner;
	uint64_t index;
};

/* A pinned entry: its bytes stay where they are until cache_unpin. */
struct cache_entry {
	unsigned char *data;
	size_t bytes;
	/* the rest is cache.c's */
	struct cache_key key;
	struct cache_entry *next;          /* in the bucket */
	struct cache_entry *newer, *older; /* by last use */
	unsigned pins;
	unsigned age; /* calls of cache_trim since it was used */
	int state;
	int error;
};

/* Computes `bytes` bytes of a key. 0 or -errno, which goes to all waiters; a failure is never cached. */
typedef int cache_fill_fn(void *ctx, void *dst);

/* A request: fill is called with ctx if the entry is not there. */
struct cache_request {
	struct cache_key key;
	size_t bytes;
	cache_fill_fn *fill;
	void *ctx;
};

/*
 * `budget` bounds the bytes of entries, pinned ones included as far as possible: when all are pinned, a request gets
 * an entry beyond the budget that is freed with its last pin. NULL for lack of memory.
 */
struct cache *cache_new(size_t budget);

/* No entry may be pinned. NULL is allowed. */
void cache_free(struct cache *c);

/* Gets an entry, pinned. 0, the error of fill, or -ENOMEM. */
int cache_get(struct cache *c, const struct cache_request *request, struct cache_entry **out);
void cache_unpin(struct cache *c, struct cache_entry *e);

/* Frees entries not used since the call before last. True while any are left. */
bool cache_trim(struct cache *c);

struct cache_stats {
	uint64_t hits, misses;
	size_t bytes, budget;
};
void cache_stats(struct cache *c, struct cache_stats *out);

#endif
