/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "read/cache.h"
#include "../test.h"

#define ENTRY 4096

struct filler {
	atomic_int calls;
	unsigned char byte;
	int rc;
	int sleep_us;
};

static int fill(void *ctx, void *dst)
{
	struct filler *f = ctx;

	atomic_fetch_add(&f->calls, 1);
	if (f->sleep_us)
		usleep((useconds_t)f->sleep_us);
	memset(dst, f->byte, ENTRY);
	return f->rc;
}

static int get(struct cache *c, uint64_t index, struct filler *f, struct cache_entry **e)
{
	const struct cache_request r = {{"owner", index}, ENTRY, fill, f};

	return cache_get(c, &r, e);
}

static void test_budget(void)
{
	struct cache *c = cache_new(4 * ENTRY);
	struct cache_entry *pinned, *e;
	struct cache_stats stats;
	struct filler f = {.byte = 1};

	CHECK(get(c, 0, &f, &pinned) == 0 && pinned->data[ENTRY - 1] == 1);
	for (uint64_t i = 1; i < 50; i++) {
		f.byte = (unsigned char)i;
		CHECK(get(c, i, &f, &e) == 0 && e->data[0] == i);
		cache_unpin(c, e);
		cache_stats(c, &stats);
		CHECK(stats.bytes <= 4 * ENTRY);
	}
	CHECK(f.calls == 50);
	CHECK(get(c, 0, &f, &e) == 0 && e == pinned && f.calls == 50 && pinned->data[7] == 1);
	cache_unpin(c, e);
	cache_unpin(c, pinned);
	CHECK(get(c, 49, &f, &e) == 0 && f.calls == 50);
	cache_unpin(c, e);
	CHECK(get(c, 1, &f, &e) == 0 && f.calls == 51);
	cache_unpin(c, e);
	cache_free(c);
}

/* More pinned than the budget allows: all requests are served, and the excess is freed with the pins. */
static void test_overdraft(void)
{
	struct cache *c = cache_new(ENTRY);
	struct cache_entry *e[8];
	struct cache_stats stats;
	struct filler f = {.byte = 3};

	for (uint64_t i = 0; i < 8; i++)
		CHECK(get(c, i, &f, &e[i]) == 0);
	for (int i = 0; i < 8; i++)
		cache_unpin(c, e[i]);
	cache_stats(c, &stats);
	CHECK(stats.bytes <= ENTRY);
	cache_free(c);
	c = cache_new(0);
	CHECK(get(c, 0, &f, &e[0]) == 0);
	cache_unpin(c, e[0]);
	cache_stats(c, &stats);
	CHECK(stats.bytes == 0);
	cache_free(c);
}

static void test_errors(void)
{
	struct cache *c = cache_new(8 * ENTRY);
	struct cache_entry *e;
	struct cache_stats stats;
	struct filler f = {.rc = -EIO};

	CHECK(get(c, 0, &f, &e) == -EIO && e == NULL);
	CHECK(get(c, 0, &f, &e) == -EIO && f.calls == 2);
	cache_stats(c, &stats);
	CHECK(stats.bytes == 0);
	f.rc = 0;
	CHECK(get(c, 0, &f, &e) == 0 && f.calls == 3);
	cache_unpin(c, e);
	CHECK(cache_trim(c));
	CHECK(!cache_trim(c));
	cache_stats(c, &stats);
	CHECK(stats.bytes == 0);
	cache_free(c);
}

struct crowd {
	struct cache *c;
	struct filler *f;
	pthread_barrier_t barrier;
	atomic_int good, failed;
	atomic_uint seed; /* of the next thread */
};

static void *one_of_many(void *arg)
{
	struct crowd *crowd = arg;
	struct cache_entry *e;
	int rc;

	pthread_barrier_wait(&crowd->barrier);
	rc = get(crowd->c, 5, crowd->f, &e);
	if (rc == 0) {
		atomic_fetch_add(&crowd->good, e->data[9] == crowd->f->byte);
		cache_unpin(crowd->c, e);
	} else {
		atomic_fetch_add(&crowd->failed, rc == -EIO);
	}
	return NULL;
}

static void test_single_flight(int rc)
{
	struct filler f = {.byte = 9, .sleep_us = 50000, .rc = rc};
	struct crowd crowd = {.c = cache_new(8 * ENTRY), .f = &f};
	pthread_t threads[8];

	pthread_barrier_init(&crowd.barrier, NULL, 8);
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, one_of_many, &crowd);
	for (int i = 0; i < 8; i++)
		pthread_join(threads[i], NULL);
	CHECK(rc ? crowd.failed == 8 : crowd.good == 8 && f.calls == 1);
	pthread_barrier_destroy(&crowd.barrier);
	cache_free(crowd.c);
}

static int fill_index(void *ctx, void *dst)
{
	memset(dst, (int)*(uint64_t *)ctx & 0xff, ENTRY);
	return 0;
}

static void *random_user(void *arg)
{
	struct crowd *crowd = arg;
	unsigned seed = crowd->seed++;

	for (int i = 0; i < 20000; i++) {
		uint64_t index = (uint64_t)rand_r(&seed) % 40;
		const struct cache_request r = {{crowd, index}, ENTRY * (1 + index % 3), fill_index, &index};
		struct cache_entry *e;

		if (cache_get(crowd->c, &r, &e) || e->data[100] != (index & 0xff))
			atomic_fetch_add(&crowd->failed, 1);
		else
			cache_unpin(crowd->c, e);
		if (i % 1000 == 0)
			cache_trim(crowd->c);
	}
	return NULL;
}

static void test_crowd(unsigned seed)
{
	struct crowd crowd = {.c = cache_new(16 * ENTRY), .seed = seed};
	struct cache_stats stats;
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, random_user, &crowd);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK(crowd.failed == 0);
	cache_stats(crowd.c, &stats);
	CHECK(stats.bytes <= 16 * ENTRY && stats.hits + stats.misses >= 80000);
	cache_free(crowd.c);
}

int main(void)
{
	test_budget();
	test_overdraft();
	test_errors();
	test_single_flight(0);
	test_single_flight(-EIO);
	test_crowd(test_seed());
	return test_done();
}
