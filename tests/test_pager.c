/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "generator.h"
#include "pager.h"
#include "test.h"

#define EXTENTS 100

/* A tensor that notes what is asked of it. */
struct noted {
	struct generator g; /* first */
	atomic_bool fetched;
	atomic_uint fetches, releases;
};

static struct noted *noted_of(const struct generator *g)
{
	return (struct noted *)(uintptr_t)g;
}

static void fetch(const struct generator *g, uint64_t row0, uint64_t nrows)
{
	(void)row0;
	(void)nrows;
	atomic_fetch_add(&noted_of(g)->fetches, 1);
}

static void release(const struct generator *g)
{
	atomic_fetch_add(&noted_of(g)->releases, 1);
	atomic_store(g->fetched, false);
}

static void make(struct noted *n, struct extent *e)
{
	n->g =
	    (struct generator){.rows = 4, .row_bytes = 8, .fetch = fetch, .release = release, .fetched = &n->fetched};
	*e = (struct extent){.kind = EXTENT_GENERATED, .length = 32, .from.generator = &n->g};
}

/* Up to two seconds for the thread to come to it. */
static bool becomes(atomic_uint *counter, unsigned value)
{
	for (int i = 0; i < 2000 && *counter != value; i++)
		usleep(1000);
	return *counter == value;
}

static void test_once(void)
{
	struct pager *p = pager_new();
	struct noted n = {0};
	struct extent e;

	make(&n, &e);
	CHECK(pager_release(p, &e)); /* nothing to give back yet */
	CHECK(pager_fetch(p, &e, 8, 8) && pager_fetch(p, &e, 0, 32));
	CHECK(becomes(&n.fetches, 1));
	CHECK(pager_release(p, &e));
	CHECK(becomes(&n.releases, 1));
	CHECK(pager_fetch(p, &e, 0, 8));
	CHECK(becomes(&n.fetches, 2));
	pager_free(p);
	CHECK(n.fetches == 2 && n.releases == 1);
}

/* More than can wait: whoever was told "no" may ask again, and in the end each was fetched once. */
static void test_full(void)
{
	struct pager *p = pager_new();
	struct noted n[EXTENTS] = {0};
	struct extent e[EXTENTS];
	unsigned fetched = 0;

	for (int i = 0; i < EXTENTS; i++)
		make(&n[i], &e[i]);
	for (int i = 0; i < EXTENTS; i++)
		while (!pager_fetch(p, &e[i], 0, 32))
			usleep(100);
	for (int i = 0; i < EXTENTS; i++)
		fetched += becomes(&n[i].fetches, 1);
	CHECK(fetched == EXTENTS);
	pager_free(p);
}

static void test_idle(void)
{
	pager_free(pager_new());
	pager_free(NULL);
}

int main(void)
{
	test_once();
	test_full();
	test_idle();
	return test_done();
}
