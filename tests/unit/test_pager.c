/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "file/pages.h"
#include "read/pager.h"
#include "../test.h"

#define FILES 100
#define LONG ((uint64_t)64 << 20)
#define FILE_BYTES ((size_t)8 << 20)
#define ROUNDS 50

/* A file whose pages are counted instead of read. */
struct noted {
	struct source_file f; /* first */
	atomic_bool resident;
	bool on_disk;          /* not in memory before it is fetched */
	atomic_uint fetched;   /* steps */
	atomic_uint begun;     /* steps, including those that wait for a permit */
	atomic_uint permits;   /* steps that may be done; UINT_MAX for no limit */
	atomic_uint populated; /* steps */
	atomic_uint others;    /* steps by another thread than the test's */
	pthread_t main;
};

static struct noted *noted_of(const struct source_file *f)
{
	return (struct noted *)(uintptr_t)f;
}

static bool io_resident(const struct source_file *f, uint64_t offset, uint64_t len)
{
	(void)offset;
	(void)len;
	return !noted_of(f)->on_disk;
}

static void io_fetch(const struct source_file *f, uint64_t offset, uint64_t len)
{
	struct noted *n = noted_of(f);

	(void)offset;
	(void)len;
	n->begun++;
	while (n->fetched >= n->permits)
		usleep(100);
	if (!pthread_equal(n->main, pthread_self()))
		n->others++;
	n->fetched++;
}

static void io_populate(const struct source_file *f, uint64_t offset, uint64_t len)
{
	(void)offset;
	(void)len;
	noted_of(f)->populated++;
}

static void io_unpopulate(const struct source_file *f, uint64_t offset, uint64_t len)
{
	(void)f;
	(void)offset;
	(void)len;
}

static const struct pager_io io = {io_resident, io_fetch, io_populate, io_unpopulate};

/* Bytes [0, bytes) of the file; with a resident flag if `whole`. */
static struct needs make(struct noted *n, uint64_t bytes, bool whole)
{
	*n = (struct noted){.permits = UINT_MAX, .main = pthread_self()};
	return (struct needs){
	    .spans = {1, {{&n->f, 0, bytes}}}, .mapped = true, .resident = whole ? &n->resident : NULL};
}

/* The same needs cut to a part. */
static struct needs part(const struct needs *needs, uint64_t from, uint64_t length)
{
	struct needs p = *needs;

	p.spans.span[0].offset = from;
	p.spans.span[0].bytes = length;
	return p;
}

/* Waits up to two seconds for the thread. */
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

/* The thread is not woken to fetch resident pages, and with a flag only the first request fetches. */
static void test_once(void)
{
	struct pager *p = pager_new(&io);
	struct noted n;
	struct needs needs = make(&n, 32, true);

	CHECK(pager_release(p, &needs)); /* nothing to release yet */
	CHECK(pager_fetch(p, &needs) && pager_fetch(p, &needs) && pager_plan(p, &needs));
	CHECK(n.resident && n.begun == 0);
	CHECK(pager_release(p, &needs));
	CHECK(is_cleared(&n.resident));
	n.on_disk = true;
	CHECK(pager_fetch(p, &needs));
	CHECK(becomes(&n.fetched, 1) && n.resident && n.populated == 0);
	CHECK(pager_release(p, &needs));
	CHECK(is_cleared(&n.resident));
	CHECK(pager_plan(p, &needs));
	CHECK(becomes(&n.populated, 1));
	pager_free(p);
	CHECK(n.fetched == 2 && n.others == 2);
}

/* Nothing is needed: nothing to do. */
static void test_nothing(void)
{
	struct pager *p = pager_new(&io);
	struct needs needs = {0};

	CHECK(pager_fetch(p, &needs) && pager_plan(p, &needs) && pager_release(p, &needs) && !pager_has_work(p));
	pager_wait(p, &needs);
	pager_free(p);
}

/* More than the queue holds: rejected callers ask again, and finally each was fetched once. */
static void test_full(void)
{
	static struct noted n[FILES];
	struct pager *p = pager_new(&io);
	unsigned fetched = 0;

	for (int i = 0; i < FILES; i++) {
		struct needs needs = make(&n[i], 32, true);

		n[i].on_disk = true;
		while (!(i % 2 ? pager_plan(p, &needs) : pager_fetch(p, &needs)))
			usleep(100);
	}
	for (int i = 0; i < FILES; i++)
		fetched += becomes(&n[i].fetched, 1);
	CHECK(fetched == FILES);
	pager_free(p);
}

struct waiter {
	struct pager *pager;
	struct needs needs;
	atomic_bool waited;
	pthread_t thread;
};

static void *wait_for(void *arg)
{
	struct waiter *w = arg;

	pager_wait(w->pager, &w->needs);
	w->waited = true;
	return NULL;
}

static void start(struct waiter *w)
{
	CHECK(pthread_create(&w->thread, NULL, wait_for, w) == 0);
}

/* Spans that share a flag are waited for in every view, and only while they are fetched. */
static void test_wait(void)
{
	struct pager *p = pager_new(&io);
	struct noted first, n;
	struct needs before = make(&first, 32, true), needs = make(&n, 32, true);
	struct waiter w = {.pager = p, .needs = needs}, v = {.pager = p, .needs = needs};

	first.permits = 0; /* occupies the thread */
	pager_wait(p, &needs);
	CHECK(pager_plan(p, &before) && pager_plan(p, &needs));
	CHECK(becomes(&first.begun, 1));
	v.needs.spans.span[0].offset = 8;
	start(&w);
	start(&v);
	CHECK(!w.waited && !v.waited && n.fetched == 0);
	CHECK(!pager_has_work(p)); /* while the thread is at it */
	pager_work(p);
	first.permits = UINT_MAX;
	pthread_join(w.thread, NULL);
	pthread_join(v.thread, NULL);
	CHECK(n.fetched == 1);
	pager_wait(p, &before);
	pager_free(p);
}

/* A reader waits only for the part it needs. */
static void test_part(void)
{
	struct pager *p = pager_new(&io);
	struct noted n;
	struct needs needs = make(&n, LONG, false), front = part(&needs, 0, 1);
	struct waiter w = {.pager = p, .needs = part(&needs, LONG - 1, 1)};

	n.permits = 1;
	CHECK(pager_plan(p, &needs));
	start(&w);
	pager_wait(p, &front);
	CHECK(n.fetched == 1 && !w.waited);
	n.permits = UINT_MAX;
	pthread_join(w.thread, NULL);
	CHECK(n.fetched > 2);
	pager_free(p);
}

/* What a reader waits for is fetched before anything else. */
static void test_wanted(void)
{
	struct pager *p = pager_new(&io);
	struct noted n[3];
	struct needs needs[3] = {make(&n[0], LONG, false), make(&n[1], 32, true), make(&n[2], 32, true)};
	struct needs front = part(&needs[0], 0, 1);
	struct waiter w = {.pager = p, .needs = needs[2]};

	n[0].permits = 1;
	for (int i = 0; i < 3; i++)
		CHECK(pager_plan(p, &needs[i]));
	pager_wait(p, &front);
	CHECK(becomes(&n[0].begun, 2)); /* the thread is at the second step of the first */
	start(&w);
	usleep(20000); /* the waiter must be in pager_wait; if it is late, the check below still holds, only later */
	CHECK(!w.waited && n[2].fetched == 0);
	n[0].permits = 2;
	CHECK(becomes(&n[2].fetched, 1) && n[0].fetched == 2 && n[1].fetched == 0);
	n[0].permits = UINT_MAX;
	pthread_join(w.thread, NULL);
	CHECK(becomes(&n[1].fetched, 1) && n[0].fetched > 2);
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
 * Planned work is done by pager_work, in small steps. If this process does not get to run, the thread does it, so not
 * every round has to be without the thread.
 */
static void test_help(void)
{
	struct pager *p = pager_new(&io);
	struct noted n;
	struct needs needs = make(&n, FILE_BYTES, true);
	unsigned mine = 0;

	CHECK(!pager_has_work(p));
	pager_work(p);
	for (int i = 0; i < ROUNDS; i++) {
		n.fetched = n.others = 0;
		CHECK(pager_plan(p, &needs));
		while (pager_has_work(p))
			pager_work(p);
		mine += n.fetched > 4 && !n.others;
		pager_wait(p, &needs);
		CHECK(n.resident && pager_release(p, &needs));
		while (pager_has_work(p))
			pager_work(p);
		CHECK(is_cleared(&n.resident));
	}
	CHECK(mine > 0);
	pager_free(p);
}

/* pager_work does not wait for the disk: the thread does, and it does what is left. */
static void test_thread(void)
{
	struct pager *p = pager_new(NULL);
	struct source_file f;
	atomic_bool resident = false;
	struct needs needs = {.spans = {1, {{&f, 0, FILE_BYTES}}}, .mapped = true, .resident = &resident};

	map_file(&f);
	for (int round = 0; round < 2; round++) {
		posix_fadvise(f.fd, 0, 0, POSIX_FADV_DONTNEED);
		CHECK(round ? pager_fetch(p, &needs) : pager_plan(p, &needs));
		while (pager_has_work(p))
			pager_work(p);
		pager_wait(p, &needs);
		CHECK(source_file_resident(&f, 0, FILE_BYTES));
		CHECK(pager_release(p, &needs));
		CHECK(is_cleared(&resident));
	}
	pager_free(p);
	source_file_close(&f);
}

/* The thread does planned work that was left undone, in steps of 4 MiB. */
static void test_late(void)
{
	struct pager *p = pager_new(&io);
	struct noted n;
	struct needs needs = make(&n, FILE_BYTES, true);

	CHECK(pager_plan(p, &needs));
	CHECK(becomes(&n.fetched, 2) && n.others == 2);
	pager_free(p);
}

static void test_idle(void)
{
	pager_free(pager_new(NULL));
	pager_free(NULL);
}

int main(void)
{
	test_once();
	test_nothing();
	test_full();
	test_wait();
	test_part();
	test_wanted();
	test_help();
	test_thread();
	test_late();
	test_idle();
	return test_done();
}
