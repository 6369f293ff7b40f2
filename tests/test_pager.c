/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "generator.h"
#include "pager.h"
#include "test.h"

#define EXTENTS 100
#define LONG ((uint64_t)64 << 20)

/* A tensor that notes what is asked of it. */
struct noted {
	struct generator g; /* first */
	atomic_bool fetched;
	atomic_uint fetches, releases;
	atomic_uint allowed; /* so many fetches and no more; 0 for any number */
};

static struct noted *noted_of(const struct generator *g)
{
	return (struct noted *)(uintptr_t)g;
}

static void fetch(const struct generator *g, uint64_t row0, uint64_t nrows)
{
	(void)row0;
	(void)nrows;
	while (noted_of(g)->allowed && noted_of(g)->fetches >= noted_of(g)->allowed)
		usleep(100);
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

struct waiter {
	struct pager *pager;
	const struct extent *e;
	uint64_t from, length;
	atomic_bool waited;
	pthread_t thread;
};

static void *wait_for(void *arg)
{
	struct waiter *w = arg;

	pager_wait(w->pager, w->e, w->from, w->length);
	w->waited = true;
	return NULL;
}

static void start(struct waiter *w)
{
	CHECK(pthread_create(&w->thread, NULL, wait_for, w) == 0);
}

/* A tensor that is fetched whole is waited for in every view, and only while it is fetched. */
static void test_wait(void)
{
	struct pager *p = pager_new();
	struct noted first = {.allowed = 1}, n = {0}, in_other_view;
	struct extent before, e, other;
	struct waiter w = {p, &e, 8, 8, false, 0}, v = {p, &other, 0, 1, false, 0};

	make(&first, &before);
	first.fetches = 1; /* keeps the thread */
	make(&n, &e);
	make(&in_other_view, &other);
	in_other_view.g.fetched = &n.fetched;
	pager_wait(p, &e, 0, 32);
	CHECK(pager_fetch(p, &before, 0, 32) && pager_fetch(p, &e, 0, 32));
	start(&w);
	start(&v);
	usleep(20000);
	CHECK(!w.waited && !v.waited && n.fetches == 0);
	first.allowed = 0;
	pthread_join(w.thread, NULL);
	pthread_join(v.thread, NULL);
	CHECK(n.fetches == 1);
	pager_wait(p, &before, 0, 32);
	pager_free(p);
}

/* Of a long extent only the part that is wanted is waited for. */
static void test_part(void)
{
	struct pager *p = pager_new();
	struct noted n = {.allowed = 1};
	struct extent e;
	struct waiter w = {p, &e, LONG - 1, 1, false, 0};

	make(&n, &e);
	n.g.fetched = NULL;
	n.g.row_bytes = 1;
	n.g.rows = e.length = LONG;
	CHECK(pager_fetch(p, &e, 0, LONG));
	start(&w);
	pager_wait(p, &e, 0, 1);
	CHECK(n.fetches == 1 && !w.waited);
	n.allowed = 0;
	pthread_join(w.thread, NULL);
	CHECK(n.fetches > 2);
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
	test_wait();
	test_part();
	test_idle();
	return test_done();
}
