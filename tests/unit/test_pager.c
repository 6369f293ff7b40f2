/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file/pages.h"
#include "tree/generator.h"
#include "read/pager.h"
#include "../test.h"

#define EXTENTS 100
#define LONG ((uint64_t)64 << 20)
#define FILE_BYTES ((size_t)8 << 20)
#define ROUNDS 50

/* A tensor that notes how often it is asked what it needs: once for every step. */
struct noted {
	struct generator g; /* first */
	atomic_bool fetched;
	atomic_uint begun;
	atomic_uint asked;
	atomic_uint allowed;            /* so often and no more; 0 for any number */
	const struct source_file *file; /* all of it is needed; or nothing */
	pthread_t main;
	atomic_uint others; /* asked by another thread than that one */
};

static struct noted *noted_of(const struct generator *g)
{
	return (struct noted *)(uintptr_t)g;
}

static void needs(const struct generator *g, uint64_t row0, uint64_t nrows, struct spans *out)
{
	struct noted *n = noted_of(g);

	(void)row0;
	(void)nrows;
	n->begun++;
	while (n->allowed && n->asked >= n->allowed)
		usleep(100);
	if (!pthread_equal(n->main, pthread_self()))
		n->others++;
	if (n->file)
		spans_add(out, n->file, n->file->map, FILE_BYTES);
	n->asked++;
}

static void make(struct noted *n, struct extent *e)
{
	n->g = (struct generator){.rows = 4, .row_bytes = 8, .needs = needs, .fetched = &n->fetched};
	n->main = pthread_self();
	*e = (struct extent){.kind = EXTENT_GENERATED, .length = 32, .from.generator = &n->g};
}

/* Up to two seconds for the thread to come to it. */
static bool becomes(atomic_uint *counter, unsigned value)
{
	for (int i = 0; i < 2000 && *counter != value; i++)
		usleep(1000);
	return *counter == value;
}

static bool is_cleared(atomic_bool *flag)
{
	for (int i = 0; i < 2000 && *flag; i++)
		usleep(1000);
	return !*flag;
}

/* Nobody is woken to fetch what is in memory. */
static void test_once(void)
{
	struct pager *p = pager_new();
	struct noted n = {0};
	struct extent e;

	make(&n, &e);
	CHECK(pager_release(p, &e)); /* nothing to give back yet */
	CHECK(pager_fetch(p, &e, 8, 8) && pager_fetch(p, &e, 0, 32) && pager_plan(p, &e, 0, 32));
	CHECK(n.asked == 1 && n.others == 0);
	CHECK(pager_release(p, &e));
	CHECK(is_cleared(&n.fetched));
	CHECK(pager_plan(p, &e, 0, 8) && pager_fetch(p, &e, 0, 8));
	CHECK(becomes(&n.asked, 3) && n.fetched);
	pager_free(p);
	CHECK(n.asked == 3 && n.others == 2);
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
		while (!(i % 2 ? pager_plan(p, &e[i], 0, 32) : pager_fetch(p, &e[i], 0, 32)))
			usleep(100);
	for (int i = 0; i < EXTENTS; i++)
		fetched += becomes(&n[i].asked, 1);
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
	struct noted first = {.allowed = 1}, n = {0}, in_other_view = {0};
	struct extent before, e, other;
	struct waiter w = {p, &e, 8, 8, false, 0}, v = {p, &other, 0, 1, false, 0};

	make(&first, &before);
	first.asked = 1; /* keeps the thread */
	make(&n, &e);
	make(&in_other_view, &other);
	in_other_view.g.fetched = &n.fetched;
	pager_wait(p, &e, 0, 32);
	CHECK(pager_plan(p, &before, 0, 32) && pager_plan(p, &e, 0, 32));
	CHECK(becomes(&first.begun, 1));
	start(&w);
	start(&v);
	usleep(20000);
	CHECK(!w.waited && !v.waited && n.asked == 0);
	CHECK(!pager_has_work(p)); /* while the thread is at it */
	pager_work(p);
	first.allowed = 0;
	pthread_join(w.thread, NULL);
	pthread_join(v.thread, NULL);
	CHECK(n.asked == 1);
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
	CHECK(pager_plan(p, &e, 0, LONG));
	start(&w);
	pager_wait(p, &e, 0, 1);
	CHECK(n.asked == 1 && !w.waited);
	n.allowed = 0;
	pthread_join(w.thread, NULL);
	CHECK(n.asked > 2);
	pager_free(p);
}

/* What somebody waits for is fetched before the rest of what nobody does. */
static void test_wanted(void)
{
	struct pager *p = pager_new();
	struct noted first = {.allowed = 1}, second = {0}, third = {0};
	struct extent e[3];
	struct waiter w = {p, &e[2], 0, 1, false, 0};

	make(&first, &e[0]);
	first.g.fetched = NULL;
	first.g.row_bytes = 1;
	first.g.rows = e[0].length = LONG;
	make(&second, &e[1]);
	make(&third, &e[2]);
	for (int i = 0; i < 3; i++)
		CHECK(pager_plan(p, &e[i], 0, e[i].length));
	pager_wait(p, &e[0], 0, 1);
	start(&w);
	usleep(20000);
	CHECK(!w.waited && third.asked == 0); /* while the thread is at the first */
	first.allowed = 2;
	CHECK(becomes(&third.asked, 1) && first.asked == 2 && second.asked == 0);
	first.allowed = 0;
	pthread_join(w.thread, NULL);
	CHECK(becomes(&second.asked, 1) && first.asked > 2);
	pager_free(p);
}

static void map_file(struct source_file *f)
{
	const char *tmp = getenv("TMPDIR");
	char path[64], *bytes = calloc(FILE_BYTES, 1);

	snprintf(path, sizeof(path), "%.40s/gptqfs-test.XXXXXX", tmp ? tmp : "/tmp");
	*f = (struct source_file){.name = "f", .fd = mkstemp(path), .stat.st_size = FILE_BYTES};
	unlink(path);
	CHECK(bytes && write(f->fd, bytes, FILE_BYTES) == (ssize_t)FILE_BYTES && fsync(f->fd) == 0);
	f->map = mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, f->fd, 0);
	CHECK(f->map != MAP_FAILED);
	free(bytes);
}

/*
 * What is planned is done by who helps, in little steps. If this process is kept from running meanwhile, by the thread:
 * so not every round has to be the helper's alone.
 */
static void test_help(void)
{
	struct pager *p = pager_new();
	struct source_file f;
	struct noted n = {.file = &f};
	struct extent e;
	unsigned mine = 0;

	map_file(&f);
	make(&n, &e);
	CHECK(!pager_has_work(p));
	pager_work(p);
	for (int i = 0; i < ROUNDS; i++) {
		n.asked = n.others = 0;
		CHECK(pager_plan(p, &e, 0, 32));
		while (pager_has_work(p))
			pager_work(p);
		mine += n.asked > 4 && !n.others;
		pager_wait(p, &e, 0, 32);
		CHECK(n.fetched && pager_release(p, &e));
		while (pager_has_work(p))
			pager_work(p);
		CHECK(is_cleared(&n.fetched));
	}
	CHECK(mine > 0);
	pager_free(p);
	source_file_close(&f);
}

/* Nobody who helps waits for the disk: the thread does; and it does what nobody helps with. */
static void test_thread(void)
{
	struct pager *p = pager_new();
	struct source_file f;
	struct noted n = {.file = &f};
	struct extent e;

	map_file(&f);
	make(&n, &e);
	for (int round = 0; round < 2; round++) {
		posix_fadvise(f.fd, 0, 0, POSIX_FADV_DONTNEED);
		CHECK(round ? pager_fetch(p, &e, 0, 32) : pager_plan(p, &e, 0, 32));
		while (pager_has_work(p))
			pager_work(p);
		pager_wait(p, &e, 0, 32);
		CHECK(source_file_resident(&f, 0, FILE_BYTES));
		CHECK(pager_release(p, &e));
		CHECK(is_cleared(&n.fetched));
	}
	CHECK(pager_plan(p, &e, 0, 32));
	n.asked = 0;
	CHECK(becomes(&n.asked, 2)); /* 4 MiB each */
	pager_free(p);
	source_file_close(&f);
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
	test_wanted();
	test_help();
	test_thread();
	test_idle();
	return test_done();
}
