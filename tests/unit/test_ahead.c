/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "read/ahead.h"
#include "base/arena.h"
#include "tree/layout.h"
#include "../test.h"

#define ROW ((uint64_t)4096)
#define ROWS ((uint64_t)4096)
#define BLOCK ((size_t)64 << 10)
#define BLOCKS (ROW * ROWS / BLOCK)
#define THREADS 4

/* A file of rows, each filled with the low byte of its number; counts how often a row is computed. */
struct file {
	struct generator g; /* first: fill gets a pointer to it */
	struct layout layout;
	atomic_uint computed; /* rows */
	atomic_int rc;
};

static int fill(const struct generator *g, void *dst, const struct rect *r)
{
	struct file *f = (struct file *)(uintptr_t)g;

	for (uint64_t i = 0; i < r->nrows; i++)
		memset((char *)dst + i * ROW, (int)((r->row0 + i) & 255), ROW);
	atomic_fetch_add(&f->computed, (unsigned)r->nrows);
	return f->rc;
}

static const struct generator_ops ops = {.fill = fill};

struct fixture {
	struct arena arena;
	struct reader reader;
	struct ahead *ahead;
	struct file file;
};

static void set_up(struct fixture *x, unsigned depth)
{
	*x = (struct fixture){
	    .reader = {.cache = cache_new(1 << 20), .buffers = buffers_new(), .pager = pager_new(NULL)}};
	x->ahead = ahead_new(&x->reader, depth);
	x->file.g = (struct generator){.rows = ROWS, .row_bytes = ROW, .tile_rows = 16, .ops = &ops};
	CHECK(layout_reserve(&x->file.layout, &x->arena, 1) == 0);
	layout_add_generator(&x->file.layout, &x->file.g);
}

static void tear_down(struct fixture *x)
{
	ahead_free(x->ahead);
	pager_free(x->reader.pager);
	cache_free(x->reader.cache);
	buffers_free(x->reader.buffers);
	arena_free(&x->arena);
}

static bool right(const struct gptqfs_reply *reply, uint64_t offset, size_t size)
{
	uint64_t at = offset;

	for (int i = 0; i < reply->count; i++)
		for (size_t k = 0; k < reply->iov[i].iov_len; k++, at++)
			if (((unsigned char *)reply->iov[i].iov_base)[k] != (at / ROW & 255))
				return false;
	return at == offset + size && reply->bytes == size;
}

/* A request as made by gptqfs_read and gptqfs_read_done. */
static int request(struct fixture *x, uint64_t offset, size_t size)
{
	const struct range range = {&x->file.layout, offset, size};
	struct gptqfs_reply reply;
	int rc = ahead_read(x->ahead, &range, &reply);

	if (rc)
		return rc;
	CHECK(right(&reply, offset, size));
	reader_done(&x->reader, &reply);
	ahead_continue(x->ahead, &range);
	return 0;
}

static void test_sequence(unsigned depth)
{
	struct fixture x;
	unsigned blocks = BLOCK / ROW;

	set_up(&x, depth);
	/* After three consecutive requests the fourth is predictable. */
	request(&x, 0, BLOCK);
	request(&x, BLOCK, BLOCK);
	CHECK(x.file.computed == 2 * blocks);
	request(&x, 2 * BLOCK, BLOCK);
	CHECK(x.file.computed == 4 * blocks);
	for (uint64_t i = 3; i < BLOCKS; i++)
		request(&x, i * BLOCK, BLOCK);
	/* Nothing was computed twice or beyond the end. */
	CHECK(x.file.computed == ROWS);
	/* The same again, from the front. */
	for (uint64_t i = 0; i < BLOCKS; i++)
		request(&x, i * BLOCK, BLOCK);
	CHECK(x.file.computed == 2 * ROWS);
	CHECK(!ahead_trim(x.ahead));
	tear_down(&x);
}

static void test_end(unsigned depth)
{
	struct fixture x;
	const size_t size = BLOCK + BLOCK / 2 + 8; /* the last one is shorter */
	uint64_t at = 0;

	set_up(&x, depth);
	for (; at < x.file.layout.size; at += size)
		request(&x, at, x.file.layout.size - at < size ? (size_t)(x.file.layout.size - at) : size);
	CHECK(!ahead_trim(x.ahead));
	tear_down(&x);
}

static void test_random(unsigned depth)
{
	struct fixture x;
	uint64_t seed = 1;

	set_up(&x, depth);
	for (int i = 0; i < 200; i++) {
		seed = seed * 6364136223846793005u + 1442695040888963407u;
		request(&x, (seed >> 33) % BLOCKS * BLOCK, BLOCK);
	}
	/* Non-consecutive reads cause almost no other work. */
	CHECK(x.file.computed <= 205 * BLOCK / ROW);
	tear_down(&x);
}

static void test_other_sizes(unsigned depth)
{
	struct fixture x;

	set_up(&x, depth);
	for (uint64_t i = 0; i < 4; i++)
		request(&x, i * BLOCK, BLOCK);
	/* Another size than predicted; then back, and elsewhere. */
	request(&x, 4 * BLOCK, BLOCK / 2);
	request(&x, 4 * BLOCK + BLOCK / 2, 2 * BLOCK);
	request(&x, 0, BLOCK);
	request(&x, 100 * BLOCK, BLOCK);
	request(&x, 6 * BLOCK, BLOCK);
	tear_down(&x);
}

static void test_trim(void)
{
	struct fixture x;
	unsigned before;

	set_up(&x, 1);
	for (uint64_t i = 0; i < 4; i++)
		request(&x, i * BLOCK, BLOCK);
	CHECK(ahead_trim(x.ahead));
	CHECK(!ahead_trim(x.ahead));
	before = x.file.computed;
	request(&x, 4 * BLOCK, BLOCK); /* is computed again */
	CHECK(x.file.computed > before);
	tear_down(&x);
}

static void test_failure(void)
{
	struct fixture x;
	unsigned before;

	set_up(&x, 1);
	for (uint64_t i = 0; i < 4; i++)
		request(&x, i * BLOCK, BLOCK);
	x.file.rc = -EIO;
	/* The fifth was computed without a failure; the sixth fails, first silently and then for the reader. */
	CHECK(request(&x, 4 * BLOCK, BLOCK) == 0);
	before = x.file.computed;
	CHECK(request(&x, 5 * BLOCK, BLOCK) == -EIO);
	CHECK(x.file.computed > before);
	x.file.rc = 0;
	CHECK(request(&x, 6 * BLOCK, BLOCK) == 0);
	tear_down(&x);
}

struct reading {
	struct fixture *x;
	uint64_t first;
	pthread_t thread;
};

static void *read_part(void *arg)
{
	struct reading *r = arg;

	for (uint64_t i = 0; i < BLOCKS / 2; i++)
		request(r->x, (r->first + i) % BLOCKS * BLOCK, BLOCK);
	return NULL;
}

/* More readers than streams, some on the same bytes: all must get the right bytes. */
static void test_threads(unsigned depth)
{
	struct reading readings[3 * THREADS];
	struct fixture x;

	set_up(&x, depth);
	for (unsigned i = 0; i < 3 * THREADS; i++) {
		readings[i] = (struct reading){.x = &x, .first = i % 5 * 50};
		pthread_create(&readings[i].thread, NULL, read_part, &readings[i]);
	}
	for (unsigned i = 0; i < 3 * THREADS; i++)
		pthread_join(readings[i].thread, NULL);
	tear_down(&x);
}

/* A request that arrives before the previous one was answered, as with two threads for one reader. */
static void test_two_at_once(void)
{
	struct fixture x;
	const struct range ranges[] = {{&x.file.layout, 4 * BLOCK, BLOCK}, {&x.file.layout, 5 * BLOCK, BLOCK}};
	struct gptqfs_reply replies[2];
	unsigned before;

	set_up(&x, 2);
	for (uint64_t i = 0; i < 4; i++)
		request(&x, i * BLOCK, BLOCK);
	/* The fourth and fifth are computed; the fifth is requested first. */
	ahead_continue(x.ahead, &(struct range){&x.file.layout, 3 * BLOCK, BLOCK});
	before = x.file.computed;
	for (int i = 1; i >= 0; i--)
		CHECK(ahead_read(x.ahead, &ranges[i], &replies[i]) == 0);
	CHECK(x.file.computed == before);
	for (int i = 0; i < 2; i++) {
		CHECK(right(&replies[i], ranges[i].offset, BLOCK));
		reader_done(&x.reader, &replies[i]);
		ahead_continue(x.ahead, &ranges[i]);
	}
	for (uint64_t i = 6; i < BLOCKS; i++)
		request(&x, i * BLOCK, BLOCK);
	CHECK(x.file.computed == ROWS);
	tear_down(&x);
}

/* Without blocks a reader is only followed. */
static void test_none(void)
{
	struct fixture x;

	set_up(&x, 0);
	for (uint64_t i = 0; i < BLOCKS; i++) {
		request(&x, i * BLOCK, BLOCK);
		CHECK(x.file.computed == (i + 1) * (BLOCK / ROW));
	}
	CHECK(!ahead_trim(x.ahead));
	tear_down(&x);
}

int main(void)
{
	test_none();
	for (unsigned depth = 1; depth <= GPTQFS_AHEAD_MAX; depth++)
		test_sequence(depth);
	for (unsigned depth = 0; depth <= GPTQFS_AHEAD_MAX; depth++) {
		test_end(depth);
		test_random(depth);
		test_other_sizes(depth);
		test_threads(depth);
	}
	test_trim();
	test_failure();
	test_two_at_once();
	return test_done();
}
