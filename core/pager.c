/* SPDX-License-Identifier: MIT */
#include "pager.h"

#include <pthread.h>
#include <stdlib.h>

#include "generator.h"

#define JOBS 64
/* Who waits for a part of a long extent waits for so much of it. */
#define PIECE ((uint64_t)4 << 20)

struct job {
	const struct extent *e;
	uint64_t from, length; /* length 0: give back */
};

struct pager {
	pthread_mutex_t lock;
	pthread_cond_t wanted, done;
	pthread_t thread;
	bool running, leaving, busy;
	struct job now; /* if busy */
	unsigned first, count;
	struct job jobs[JOBS]; /* a ring */
};

struct pager *pager_new(void)
{
	struct pager *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wanted, NULL);
	pthread_cond_init(&p->done, NULL);
	return p;
}

static const struct generator *generator_of(const struct extent *e)
{
	return e->kind == EXTENT_GENERATED ? e->from.generator : NULL;
}

/* What a tensor that is fetched whole is known by, in every view; else NULL. */
static const atomic_bool *whole(const struct extent *e)
{
	const struct generator *g = generator_of(e);

	return g ? g->fetched : NULL;
}

static void run_job(const struct job *job)
{
	const struct extent *e = job->e;
	const struct generator *g = generator_of(e);

	if (e->kind == EXTENT_SOURCE)
		source_file_fetch(e->from.file, e->position + job->from, job->length);
	else if (g && job->length)
		g->fetch(g, job->from / g->row_bytes, (job->length + g->row_bytes - 1) / g->row_bytes);
	else if (g)
		g->release(g);
}

/* The next job, or the next piece of it; the lock is held. */
static struct job next_piece(struct pager *p)
{
	struct job *job = &p->jobs[p->first], piece = *job;

	if (job->length > PIECE && !whole(job->e)) {
		piece.length = PIECE;
		job->from += PIECE;
		job->length -= PIECE;
	} else {
		p->first = (p->first + 1) % JOBS;
		p->count--;
	}
	return piece;
}

static void *run(void *arg)
{
	struct pager *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->leaving) {
		if (!p->count) {
			pthread_cond_wait(&p->wanted, &p->lock);
			continue;
		}
		p->now = next_piece(p);
		p->busy = true;
		pthread_mutex_unlock(&p->lock);
		run_job(&p->now);
		pthread_mutex_lock(&p->lock);
		p->busy = false;
		pthread_cond_broadcast(&p->done);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

static bool push(struct pager *p, const struct job *job)
{
	bool room;

	pthread_mutex_lock(&p->lock);
	/* Not begun earlier: a thread would not outlive the fork into the background. */
	if (!p->running)
		p->running = pthread_create(&p->thread, NULL, run, p) == 0;
	room = p->running && p->count < JOBS;
	if (room)
		p->jobs[(p->first + p->count++) % JOBS] = *job;
	pthread_cond_signal(&p->wanted);
	pthread_mutex_unlock(&p->lock);
	return room;
}

bool pager_fetch(struct pager *p, const struct extent *e, uint64_t from, uint64_t length)
{
	const struct generator *g = generator_of(e);
	bool room;

	if (e->kind == EXTENT_BYTES || (g && !g->fetch))
		return true;
	if (!g || !g->fetched)
		return push(p, &(struct job){e, from, length});
	if (atomic_load_explicit(g->fetched, memory_order_relaxed) || atomic_exchange(g->fetched, true))
		return true;
	room = push(p, &(struct job){e, 0, e->length});
	if (!room)
		atomic_store(g->fetched, false);
	return room;
}

bool pager_release(struct pager *p, const struct extent *e)
{
	const struct generator *g = generator_of(e);

	if (!g || !g->release || !atomic_load_explicit(g->fetched, memory_order_relaxed))
		return true;
	return push(p, &(struct job){e, 0, 0});
}

static bool overlaps(const struct job *job, const struct job *part)
{
	if (!job->length)
		return false;
	if (whole(part->e))
		return whole(job->e) == whole(part->e);
	return job->e == part->e && job->from < part->from + part->length && part->from < job->from + job->length;
}

static bool is_to_come(const struct pager *p, const struct job *part)
{
	if (p->busy && overlaps(&p->now, part))
		return true;
	for (unsigned i = 0; i < p->count; i++)
		if (overlaps(&p->jobs[(p->first + i) % JOBS], part))
			return true;
	return false;
}

void pager_wait(struct pager *p, const struct extent *e, uint64_t from, uint64_t length)
{
	const struct job part = {e, from, length};

	pthread_mutex_lock(&p->lock);
	while (is_to_come(p, &part))
		pthread_cond_wait(&p->done, &p->lock);
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
