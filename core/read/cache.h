/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CACHE_H
#define GPTQFS_CACHE_H

/*
 * A cache of computed bytes by key. It is the second level: repeated reads are served by the kernel's page cache. This
 * one lets small reads share a tile, and lets concurrent readers of a tile wait for one of them to compute it (single
 * flight).
 *
 * Any number of threads; no lock is held while an entry is filled. A thread that fills an entry never waits for
 * another, so holding pins while waiting cannot deadlock.
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
	/* the rest is private to cache.c */
	struct cache_key key;
	struct cache_entry *next;          /* of the bucket */
	struct cache_entry *newer, *older; /* by last use */
	unsigned pins;
	unsigned age; /* calls of cache_trim since it was used */
	int state;
	int error;
};

/* Computes `bytes` bytes of a key. Returns 0 or -errno, which all waiters get; failures are not cached. */
typedef int cache_fill_fn(void *ctx, void *dst);

/* A request: fill is called with ctx if there is no entry. */
struct cache_request {
	struct cache_key key;
	size_t bytes;
	cache_fill_fn *fill;
	void *ctx;
};

/*
 * `budget` bounds the bytes of all entries. If all are pinned, a request gets an entry beyond the budget, which is
 * freed with its last pin. Returns NULL if out of memory.
 */
struct cache *cache_new(size_t budget);

/* No entry may be pinned. NULL is allowed. */
void cache_free(struct cache *c);

/* Gets an entry, pinned. Returns 0, the error of fill, or -ENOMEM. */
int cache_get(struct cache *c, const struct cache_request *request, struct cache_entry **out);
void cache_unpin(struct cache *c, struct cache_entry *e);

/* Frees entries unused for two calls. Returns true while any is left. */
bool cache_trim(struct cache *c);

struct cache_stats {
	uint64_t hits, misses;
	size_t bytes, budget;
};
void cache_stats(struct cache *c, struct cache_stats *out);

#endif
