/* SPDX-License-Identifier: MIT */
#include "read/cache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>

#define BUCKETS 1024

enum { FILLING, READY, FAILED };

struct cache {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	size_t budget, bytes;
	uint64_t hits, misses;
	struct cache_entry *buckets[BUCKETS];
	struct cache_entry *newest, *oldest; /* READY entries, pinned or not */
};

static struct cache_entry **bucket(struct cache *c, struct cache_key key)
{
	uint64_t h = ((uint64_t)(uintptr_t)key.owner ^ key.index * 0x9e3779b97f4a7c15u) * 0xff51afd7ed558ccdu;

	return &c->buckets[h >> 54];
}

static bool same_key(struct cache_key a, struct cache_key b)
{
	return a.owner == b.owner && a.index == b.index;
}

struct cache *cache_new(size_t budget)
{
	struct cache *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->budget = budget;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->filled, NULL);
	return c;
}

/* ---- entries; the lock is held, except where entries are not in the table ---- */

/* Mapped, not malloc'ed, so that freed memory goes back to the system at once. */
static struct cache_entry *entry_new(size_t bytes)
{
	struct cache_entry *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->bytes = bytes;
	e->data = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (e->data == MAP_FAILED) {
		free(e);
		return NULL;
	}
	return e;
}

static void entry_free(struct cache_entry *e)
{
	munmap(e->data, e->bytes);
	free(e);
}

static void unlink_use(struct cache *c, struct cache_entry *e)
{
	*(e->newer ? &e->newer->older : &c->newest) = e->older;
	*(e->older ? &e->older->newer : &c->oldest) = e->newer;
	e->newer = e->older = NULL;
}

static void link_newest(struct cache *c, struct cache_entry *e)
{
	e->older = c->newest;
	e->newer = NULL;
	*(c->newest ? &c->newest->newer : &c->oldest) = e;
	c->newest = e;
	e->age = 0;
}

static void unlink_bucket(struct cache *c, struct cache_entry *e)
{
	struct cache_entry **at = bucket(c, e->key);

	while (*at != e)
		at = &(*at)->next;
	*at = e->next;
	c->bytes -= e->bytes;
}

static struct cache_entry *cache_find(struct cache *c, struct cache_key key)
{
	struct cache_entry *e = *bucket(c, key);

	while (e && !same_key(e->key, key))
		e = e->next;
	return e;
}

/* Removes the oldest unpinned entries until `bytes` more fit. Returns them as a list, to be freed or reused. */
static struct cache_entry *evict(struct cache *c, size_t bytes)
{
	struct cache_entry *e = c->oldest, *newer, *gone = NULL;

	for (; e && c->bytes + bytes > c->budget; e = newer) {
		newer = e->newer;
		if (e->pins)
			continue;
		unlink_use(c, e);
		unlink_bucket(c, e);
		e->next = gone;
		gone = e;
	}
	return gone;
}

/* Reuses an evicted entry of the right size, which saves the page faults of a new one, and frees the others. */
static struct cache_entry *reuse(struct cache_entry *gone, size_t bytes)
{
	struct cache_entry *kept = NULL, *next;

	for (; gone; gone = next) {
		next = gone->next;
		if (!kept && gone->bytes == bytes)
			kept = gone;
		else
			entry_free(gone);
	}
	return kept ? kept : entry_new(bytes);
}

/* ---- getting ---- */

/* Waits for another thread to fill an entry. Drops the pin if that failed. */
static int wait_filled(struct cache *c, struct cache_entry *e)
{
	int rc;

	while (e->state == FILLING)
		pthread_cond_wait(&c->filled, &c->lock);
	rc = e->state == FAILED ? e->error : 0;
	if (rc && --e->pins == 0)
		entry_free(e);
	return rc;
}

static int use_found(struct cache *c, struct cache_entry *e)
{
	c->hits++;
	e->pins++;
	if (e->state == FILLING)
		return wait_filled(c, e);
	unlink_use(c, e);
	link_newest(c, e);
	return 0;
}

/* Adds a FILLING entry to the table. The lock is held on entry and exit, but dropped while memory is allocated. */
static struct cache_entry *cache_insert(struct cache *c, const struct cache_request *r)
{
	struct cache_entry *gone = evict(c, r->bytes), *e, **at;

	/* Counted now, so that other threads see the budget as spent while memory is allocated without the lock. */
	c->bytes += r->bytes;
	pthread_mutex_unlock(&c->lock);
	e = reuse(gone, r->bytes);
	pthread_mutex_lock(&c->lock);
	if (!e || cache_find(c, r->key)) {
		c->bytes -= r->bytes;
		if (e)
			entry_free(e);
		return NULL;
	}
	at = bucket(c, r->key);
	e->key = r->key;
	e->state = FILLING;
	e->error = 0;
	e->pins = 1;
	e->newer = e->older = NULL;
	e->next = *at;
	*at = e;
	return e;
}

static int finish(struct cache *c, struct cache_entry *e, int rc)
{
	e->error = rc;
	e->state = rc ? FAILED : READY;
	if (rc)
		unlink_bucket(c, e);
	else
		link_newest(c, e);
	pthread_cond_broadcast(&c->filled);
	if (rc && --e->pins == 0)
		entry_free(e);
	return rc;
}

int cache_get(struct cache *c, const struct cache_request *r, struct cache_entry **out)
{
	struct cache_entry *e;
	int rc;

	pthread_mutex_lock(&c->lock);
	e = cache_find(c, r->key);
	if (!e) {
		c->misses++;
		e = cache_insert(c, r);
		if (e) {
			pthread_mutex_unlock(&c->lock);
			rc = r->fill(r->ctx, e->data);
			pthread_mutex_lock(&c->lock);
			rc = finish(c, e, rc);
		} else {
			/* Out of memory, or another thread was faster. */
			e = cache_find(c, r->key);
			rc = e ? use_found(c, e) : -ENOMEM;
		}
	} else {
		rc = use_found(c, e);
	}
	pthread_mutex_unlock(&c->lock);
	*out = rc ? NULL : e;
	return rc;
}

void cache_unpin(struct cache *c, struct cache_entry *e)
{
	struct cache_entry *gone = NULL, *next;

	pthread_mutex_lock(&c->lock);
	e->pins--;
	/* If pinned entries exceeded the budget, the last unpin is the time to get back below it. */
	if (c->bytes > c->budget)
		gone = evict(c, 0);
	pthread_mutex_unlock(&c->lock);
	for (; gone; gone = next) {
		next = gone->next;
		entry_free(gone);
	}
}

bool cache_trim(struct cache *c)
{
	struct cache_entry *e, *newer, *gone = NULL;
	bool left;

	pthread_mutex_lock(&c->lock);
	for (e = c->oldest; e; e = newer) {
		newer = e->newer;
		if (e->age++ == 0 || e->pins)
			continue;
		unlink_use(c, e);
		unlink_bucket(c, e);
		e->next = gone;
		gone = e;
	}
	left = c->newest != NULL;
	pthread_mutex_unlock(&c->lock);
	for (; gone; gone = e) {
		e = gone->next;
		entry_free(gone);
	}
	return left;
}

void cache_stats(struct cache *c, struct cache_stats *out)
{
	pthread_mutex_lock(&c->lock);
	*out = (struct cache_stats){c->hits, c->misses, c->bytes, c->budget};
	pthread_mutex_unlock(&c->lock);
}

void cache_free(struct cache *c)
{
	struct cache_entry *older;

	if (!c)
		return;
	for (; c->newest; c->newest = older) {
		older = c->newest->older;
		entry_free(c->newest);
	}
	pthread_cond_destroy(&c->filled);
	pthread_mutex_destroy(&c->lock);
	free(c);
}
