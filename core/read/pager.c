/* SPDX-License-Identifier: MIT */
#include "read/pager.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/checked.h"
#include "file/pages.h"
#include "tree/generator.h"

#define JOBS 64
/* The thread goes by steps of so many bytes: who waits for a part of a long extent waits for no more. */
#define PIECE ((uint64_t)4 << 20)
/* And whoever helps by so many: the next request may come at any moment. */
#define MORSEL ((uint64_t)512 << 10)
/* How long what was planned waits for somebody who helps. A stream is given much more time than that: see ahead.c. */
#define LATE_NS ((uint64_t)8 * 1000 * 1000)
/* Smaller matrices stay mapped: unmapping them is not worth the interrupts. */
#define RELEASE_MIN ((uint64_t)512 << 10)

enum kind {
	FETCH, /* into memory; who needs a few pages maps them faster than all are mapped */
	PLAN,  /* and map */
	RELEASE,
};

struct job {
	enum kind kind;
	const struct extent *e;
	uint64_t from, length; /* of the extent */
	uint64_t done;         /* of the length; or of what the whole tensor needs */
	uint64_t wanted;       /* likewise: somebody waits until so much is done */
	uint64_t due;          /* nanoseconds */
};

/* What is done at a time, of one job. */
struct step {
	enum kind kind;
	const struct extent *e;
	struct spans spans;
	uint64_t bytes; /* as job.done counts */
	bool last;
};

struct pager {
	pthread_mutex_t lock;
	pthread_cond_t wanted, done;
	pthread_t thread;
	bool running, leaving;
	bool hurry; /* the thread shall do all there is */
	bool busy;  /* somebody does a step */
	unsigned first, count;
	struct job jobs[JOBS]; /* a ring */
};

struct pager *pager_new(void)
{
	struct pager *p = calloc(1, sizeof(*p));
	pthread_condattr_t monotonic;

	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wanted, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&p->done, NULL);
	return p;
}

static const struct generator *generator_of(const struct extent *e)
{
	return e->kind == EXTENT_GENERATED ? e->from.generator : NULL;
}

/* What a tensor that is fetched whole is known by, in every view; else NULL. */
static atomic_bool *whole(const struct extent *e)
{
	const struct generator *g = generator_of(e);

	return g ? g->fetched : NULL;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- steps ---- */

static struct spans needs(const struct extent *e, uint64_t from, uint64_t length)
{
	const struct generator *g = generator_of(e);
	struct spans s = {0};

	if (g) {
		const uint64_t row0 = from / g->row_bytes, row1 = div_up(from + length, g->row_bytes);

		g->needs(g, row0, row1 - row0, &s);
	} else if (e->from.file->map) {
		spans_add(&s, e->from.file, e->from.file->map + e->position + from, length);
	}
	return s;
}

static struct step next_step(const struct job *job, uint64_t most)
{
	const uint64_t left = job->length - job->done;
	struct step step = {.kind = job->kind, .e = job->e};

	if (whole(job->e)) {
		const struct spans all = needs(job->e, 0, job->e->length);

		step.spans = spans_cut(&all, job->done, most);
		step.bytes = spans_bytes(&step.spans);
		step.last = job->done + step.bytes >= spans_bytes(&all);
		if (job->kind == RELEASE && spans_bytes(&all) < RELEASE_MIN) {
			step.spans.count = 0;
			step.last = true;
		}
	} else {
		step.bytes = left < most ? left : most;
		step.spans = needs(job->e, job->from + job->done, step.bytes);
		step.last = step.bytes == left;
	}
	return step;
}

static bool is_resident(const struct step *step)
{
	for (int i = 0; i < step->spans.count; i++)
		if (!source_file_resident(step->spans.span[i].file, step->spans.span[i].offset,
			step->spans.span[i].bytes))
			return false;
	return true;
}

static void run_step(const struct step *step)
{
	for (int i = 0; i < step->spans.count; i++) {
		const struct span *s = &step->spans.span[i];

		if (step->kind == RELEASE) {
			/* For what is seen of the process, and for its page tables. In the page cache they are no more
			 * wanted for having been used here: see source_file_map. */
			source_file_unpopulate(s->file, s->offset, s->bytes);
			continue;
		}
		source_file_fetch(s->file, s->offset, s->bytes);
		if (step->kind == PLAN && generator_of(step->e))
			source_file_populate(s->file, s->offset, s->bytes);
	}
	if (step->kind == RELEASE && step->last)
		atomic_store(whole(step->e), false);
}

static struct job *job_at(struct pager *p, unsigned i)
{
	return &p->jobs[(p->first + i) % JOBS];
}

/* The first that somebody waits for, if there is one: what is planned for a stream is no hurry, and much. */
static unsigned choose(struct pager *p)
{
	for (unsigned i = 0; i < p->count; i++)
		if (job_at(p, i)->done < job_at(p, i)->wanted)
			return i;
	return 0;
}

static void remove_job(struct pager *p, unsigned i)
{
	for (; i; i--)
		*job_at(p, i) = *job_at(p, i - 1);
	p->first = (p->first + 1) % JOBS;
	p->count--;
}

/* The lock is held, and given up meanwhile; jobs may be added then. False if it was not done, because pages are not in
 * memory. */
static bool do_step(struct pager *p, uint64_t most, bool may_wait)
{
	const unsigned chosen = choose(p);
	struct job *job = job_at(p, chosen);
	struct step step;
	bool can;

	p->busy = true;
	pthread_mutex_unlock(&p->lock);
	step = next_step(job, most);
	can = may_wait || step.kind == RELEASE || is_resident(&step);
	if (can)
		run_step(&step);
	pthread_mutex_lock(&p->lock);
	p->busy = false;
	if (can)
		job->done += step.bytes;
	if (can && step.last)
		remove_job(p, chosen);
	pthread_cond_broadcast(&p->done);
	return can;
}

/* ---- who does them ---- */

static void *run(void *arg)
{
	struct pager *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->leaving) {
		const uint64_t due = p->count ? p->jobs[p->first].due : 0;

		if (p->busy) {
			pthread_cond_wait(&p->done, &p->lock);
		} else if (!p->count) {
			p->hurry = false;
			pthread_cond_wait(&p->wanted, &p->lock);
		} else if (p->hurry || due <= now()) {
			p->hurry = true; /* whoever helps is too slow, or not there */
			do_step(p, PIECE, true);
		} else {
			const struct timespec t = {(time_t)(due / 1000000000u), (long)(due % 1000000000u)};

			pthread_cond_timedwait(&p->wanted, &p->lock, &t);
		}
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static void hurry(struct pager *p)
{
	p->hurry = true;
	pthread_cond_signal(&p->wanted);
}

static bool has_work(const struct pager *p)
{
	return p->count && !p->hurry && !p->busy;
}

bool pager_has_work(struct pager *p)
{
	bool has;

	pthread_mutex_lock(&p->lock);
	has = has_work(p);
	pthread_mutex_unlock(&p->lock);
	return has;
}

void pager_work(struct pager *p)
{
	pthread_mutex_lock(&p->lock);
	if (has_work(p) && !do_step(p, MORSEL, false))
		hurry(p);
	pthread_mutex_unlock(&p->lock);
}

static bool push(struct pager *p, const struct job *job)
{
	bool room;

	pthread_mutex_lock(&p->lock);
	/* Not begun earlier: a thread would not outlive the fork into the background. */
	if (!p->running)
		p->running = pthread_create(&p->thread, NULL, run, p) == 0;
	room = p->running && p->count < JOBS;
	if (room) {
		struct job *added = job_at(p, p->count++);

		*added = *job;
		added->due = now() + LATE_NS;
	}
	if (job->kind == FETCH)
		hurry(p);
	else if (p->count == 1)
		pthread_cond_signal(&p->wanted); /* to note when it will be late */
	pthread_mutex_unlock(&p->lock);
	return room;
}

/* To wake the thread for nothing would take a processor from whoever reads. */
static bool is_here(const struct extent *e)
{
	struct job job = {.kind = FETCH, .e = e};

	for (;;) {
		const struct step step = next_step(&job, PIECE);

		if (!is_resident(&step))
			return false;
		if (step.last)
			return true;
		job.done += step.bytes;
	}
}

static bool ask(struct pager *p, const struct job *part)
{
	const struct generator *g = generator_of(part->e);
	bool room;

	if (part->e->kind == EXTENT_BYTES || (g && !g->needs))
		return true;
	if (!g || !g->fetched)
		return push(p, part);
	if (atomic_load_explicit(g->fetched, memory_order_relaxed) || atomic_exchange(g->fetched, true))
		return true;
	if (part->kind == FETCH && is_here(part->e))
		return true;
	room = push(p, &(struct job){.kind = part->kind, .e = part->e, .length = part->e->length});
	if (!room)
		atomic_store(g->fetched, false);
	return room;
}

bool pager_fetch(struct pager *p, const struct extent *e, uint64_t from, uint64_t length)
{
	return ask(p, &(struct job){.kind = FETCH, .e = e, .from = from, .length = length});
}

bool pager_plan(struct pager *p, const struct extent *e, uint64_t from, uint64_t length)
{
	return ask(p, &(struct job){.kind = PLAN, .e = e, .from = from, .length = length});
}

bool pager_release(struct pager *p, const struct extent *e)
{
	if (!whole(e) || !atomic_load_explicit(whole(e), memory_order_relaxed))
		return true;
	return push(p, &(struct job){.kind = RELEASE, .e = e});
}

static bool overlaps(const struct job *job, const struct job *part)
{
	if (job->kind == RELEASE)
		return false;
	if (whole(part->e))
		return whole(job->e) == whole(part->e);
	return job->e == part->e && job->from + job->done < part->from + part->length &&
	       part->from < job->from + job->length;
}

/* Is that part still to be fetched? Then it is next. */
static bool want(struct pager *p, const struct job *part)
{
	bool any = false;

	for (unsigned i = 0; i < p->count; i++) {
		struct job *job = job_at(p, i);
		uint64_t until;

		if (!overlaps(job, part))
			continue;
		until = whole(job->e) ? UINT64_MAX : part->from + part->length - job->from;
		if (job->wanted < until)
			job->wanted = until;
		any = true;
	}
	return any;
}

void pager_wait(struct pager *p, const struct extent *e, uint64_t from, uint64_t length)
{
	const struct job part = {.e = e, .from = from, .length = length};

	pthread_mutex_lock(&p->lock);
	while (want(p, &part)) {
		hurry(p);
		pthread_cond_wait(&p->done, &p->lock);
	}
	pthread_mutex_unlock(&p->lock);
}

void pager_free(struct pager *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->leaving = true;
	pthread_cond_signal(&p->wanted);
	pthread_mutex_unlock(&p->lock);
	if (p->running)
		pthread_join(p->thread, NULL);
	pthread_cond_destroy(&p->wanted);
	pthread_cond_destroy(&p->done);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
