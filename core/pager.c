/* SPDX-License-Identifier: MIT */
#include "pager.h"

#include <pthread.h>
#include <stdlib.h>

#include "generator.h"

#define JOBS 64

struct job {
	const struct extent *e;
	uint64_t from, length; /* length 0: give back */
};

struct pager {
	pthread_mutex_t lock;
	pthread_cond_t wanted;
	pthread_t thread;
	bool running, leaving;
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
	return p;
}

static void run_job(const struct job *job)
{
	const struct extent *e = job->e;
	const struct generator *g = e->kind == EXTENT_GENERATED ? e->from.generator : NULL;

	if (e->kind == EXTENT_SOURCE)
		source_file_fetch(e->from.file, e->position + job->from, job->length);
	else if (g && job->length)
		g->fetch(g, job->from / g->row_bytes, (job->length + g->row_bytes - 1) / g->row_bytes);
	else if (g)
		g->release(g);
}

static void *run(void *arg)
{
	struct pager *p = arg;
	struct job job;

	pthread_mutex_lock(&p->lock);
	while (!p->leaving) {
		if (!p->count) {
			pthread_cond_wait(&p->wanted, &p->lock);
			continue;
		}
		job = p->jobs[p->first];
		p->first = (p->first + 1) % JOBS;
		p->count--;
		pthread_mutex_unlock(&p->lock);
		run_job(&job);
		pthread_mutex_lock(&p->lock);
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
	const struct generator *g = e->kind == EXTENT_GENERATED ? e->from.generator : NULL;
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
	const struct generator *g = e->kind == EXTENT_GENERATED ? e->from.generator : NULL;

	if (!g || !g->release || !atomic_load_explicit(g->fetched, memory_order_relaxed))
		return true;
	return push(p, &(struct job){e, 0, 0});
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
	pthread_mutex_destroy(&p->lock);
	free(p);
}
