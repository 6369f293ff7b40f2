/* SPDX-License-Identifier: MIT */
#include "read/pager.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "file/pages.h"

#define JOBS 64
/* Step of the thread; bounds the delay of a waiter. */
#define PIECE ((uint64_t)4 << 20)
/* Step of pager_work: the next request may come at any moment. */
#define MORSEL ((uint64_t)512 << 10)
/* How long planned work waits for pager_work. Streams plan much further ahead than that: see ahead.c. */
#define LATE_NS ((uint64_t)8 * 1000 * 1000)
/* Smaller matrices stay mapped: unmapping them is not worth the interrupts. */
#define RELEASE_MIN ((uint64_t)512 << 10)

enum job_kind {
	JOB_FETCH, /* read from disk, but not map: a reader of few pages is faster mapping them itself */
	JOB_PLAN,  /* and map */
	JOB_RELEASE,
};

struct page_job {
	enum job_kind kind;
	struct needs needs;
	uint64_t done;   /* bytes of the spans */
	uint64_t wanted; /* of these, a reader waits for this many */
	uint64_t due;    /* nanoseconds */
};

/* A step of a job. */
struct step {
	const struct page_job *job; /* a copy */
	struct spans spans;
	uint64_t bytes;
	bool last;
};

struct pager {
	struct pager_io io;
	pthread_mutex_t lock;
	pthread_cond_t wanted, done;
	pthread_t thread;
	bool running, leaving;
	bool hurry; /* the thread does everything */
	bool busy;  /* a step is in progress */
	unsigned first, count;
	struct page_job jobs[JOBS]; /* a ring */
};

struct pager *pager_new(const struct pager_io *io)
{
	static const struct pager_io pages = {
	    source_file_resident, source_file_fetch, source_file_populate, source_file_unpopulate};
	struct pager *p = calloc(1, sizeof(*p));
	pthread_condattr_t monotonic;

	if (!p)
		return NULL;
	p->io = io ? *io : pages;
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->wanted, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&p->done, NULL);
	return p;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- steps ---- */

static struct step next_step(const struct page_job *job, uint64_t most)
{
	const uint64_t all = spans_bytes(&job->needs.spans);
	struct step step = {.job = job, .spans = spans_cut(&job->needs.spans, job->done, most)};

	step.bytes = spans_bytes(&step.spans);
	step.last = job->done + step.bytes >= all;
	if (job->kind == JOB_RELEASE && all < RELEASE_MIN)
		step = (struct step){.job = job, .last = true};
	return step;
}

static bool is_resident(const struct pager *p, const struct step *step)
{
	for (int i = 0; i < step->spans.count; i++) {
		const struct span *s = &step->spans.span[i];

		if (!p->io.resident(s->file, s->offset, s->bytes))
			return false;
	}
	return true;
}

static void run_step(const struct pager *p, const struct step *step)
{
	const struct page_job *job = step->job;

	for (int i = 0; i < step->spans.count; i++) {
		const struct span *s = &step->spans.span[i];

		if (job->kind == JOB_RELEASE) {
			/*
			 * Keeps resident size and page tables small. The page cache does not count the mapping as use:
			 * see source_file_map.
			 */
			p->io.unpopulate(s->file, s->offset, s->bytes);
			continue;
		}
		p->io.fetch(s->file, s->offset, s->bytes);
		if (job->kind == JOB_PLAN && job->needs.mapped)
			p->io.populate(s->file, s->offset, s->bytes);
	}
	if (job->kind == JOB_RELEASE && step->last && job->needs.resident)
		atomic_store(job->needs.resident, false);
}

static struct page_job *job_at(struct pager *p, unsigned i)
{
	return &p->jobs[(p->first + i) % JOBS];
}

/* Returns the first job with a waiter, if any: planned readahead is large and not urgent. */
static unsigned first_wanted(struct pager *p)
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

/*
 * Called with the lock held, and drops it meanwhile; jobs may be added then. Returns false if nothing was done because
 * pages are not in memory.
 */
static bool do_step(struct pager *p, uint64_t most, bool may_wait)
{
	const unsigned chosen = first_wanted(p);
	const struct page_job job = *job_at(p, chosen);
	struct step step;
	bool can;

	p->busy = true;
	pthread_mutex_unlock(&p->lock);
	step = next_step(&job, most);
	can = may_wait || job.kind == JOB_RELEASE || is_resident(p, &step);
	if (can)
		run_step(p, &step);
	pthread_mutex_lock(&p->lock);
	p->busy = false;
	if (can)
		job_at(p, chosen)->done += step.bytes;
	if (can && step.last)
		remove_job(p, chosen);
	pthread_cond_broadcast(&p->done);
	return can;
}

/* ---- the thread, and helpers ---- */

static void *pager_thread(void *arg)
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
			p->hurry = true; /* pager_work is too slow, or not called */
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

static bool push_job(struct pager *p, enum job_kind kind, const struct needs *needs)
{
	bool room;

	pthread_mutex_lock(&p->lock);
	/* Not started earlier: a thread would not survive the fork into the background. */
	if (!p->running)
		p->running = pthread_create(&p->thread, NULL, pager_thread, p) == 0;
	room = p->running && p->count < JOBS;
	if (room)
		*job_at(p, p->count++) = (struct page_job){.kind = kind, .needs = *needs, .due = now() + LATE_NS};
	if (kind == JOB_FETCH)
		hurry(p);
	else if (p->count == 1)
		pthread_cond_signal(&p->wanted); /* so that it notes when the job becomes overdue */
	pthread_mutex_unlock(&p->lock);
	return room;
}

/* A needless wake-up would take a CPU from the reader. */
static bool is_in_memory(const struct pager *p, const struct needs *needs)
{
	struct page_job job = {.kind = JOB_FETCH, .needs = *needs};

	for (;;) {
		const struct step step = next_step(&job, PIECE);

		if (!is_resident(p, &step))
			return false;
		if (step.last)
			return true;
		job.done += step.bytes;
	}
}

static bool ask_for(struct pager *p, enum job_kind kind, const struct needs *needs)
{
	bool room;

	if (!needs->spans.count)
		return true;
	if (!needs->resident)
		return push_job(p, kind, needs);
	if (atomic_load_explicit(needs->resident, memory_order_relaxed) || atomic_exchange(needs->resident, true))
		return true;
	if (kind == JOB_FETCH && is_in_memory(p, needs))
		return true;
	room = push_job(p, kind, needs);
	if (!room)
		atomic_store(needs->resident, false);
	return room;
}

bool pager_fetch(struct pager *p, const struct needs *needs)
{
	return ask_for(p, JOB_FETCH, needs);
}

bool pager_plan(struct pager *p, const struct needs *needs)
{
	return ask_for(p, JOB_PLAN, needs);
}

bool pager_release(struct pager *p, const struct needs *needs)
{
	if (!needs->mapped || !needs->spans.count)
		return true;
	if (needs->resident && !atomic_load_explicit(needs->resident, memory_order_relaxed))
		return true;
	if (!needs->resident && spans_bytes(&needs->spans) < RELEASE_MIN)
		return true;
	return push_job(p, JOB_RELEASE, needs);
}

/* Returns the bytes of a job up to the end of its overlap with these spans; 0 if there is none. */
static uint64_t shared_until(const struct page_job *job, const struct spans *spans)
{
	uint64_t before = 0, until = 0;

	for (int i = 0; i < job->needs.spans.count; i++) {
		const struct span *a = &job->needs.spans.span[i];

		for (int k = 0; k < spans->count; k++) {
			const struct span *b = &spans->span[k];
			const uint64_t end =
			    b->offset + b->bytes < a->offset + a->bytes ? b->offset + b->bytes : a->offset + a->bytes;

			if (a->file == b->file && b->offset < a->offset + a->bytes && a->offset < end)
				until = before + end - a->offset;
		}
		before += a->bytes;
	}
	return until;
}

/* True if some of these bytes have yet to be fetched; they are then next. */
static bool want(struct pager *p, const struct needs *needs)
{
	bool any = false;

	for (unsigned i = 0; i < p->count; i++) {
		struct page_job *job = job_at(p, i);
		uint64_t until;

		if (job->kind == JOB_RELEASE || job->needs.resident != needs->resident)
			continue;
		until = needs->resident ? UINT64_MAX : shared_until(job, &needs->spans);
		if (until <= job->done)
			continue;
		if (job->wanted < until)
			job->wanted = until;
		any = true;
	}
	return any;
}

void pager_wait(struct pager *p, const struct needs *needs)
{
	pthread_mutex_lock(&p->lock);
	while (want(p, needs)) {
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
