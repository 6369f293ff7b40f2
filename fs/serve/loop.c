/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "serve/loop.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

/* How often a sleeping thread checks whether the team is stuck. A megabyte takes 0.2 ms. */
#define TICK_NS (2L * 1000 * 1000)
#define TEAM_MAX 2

struct loop {
	struct fuse_session *session;
	unsigned max_threads;
	struct loop_teams teams;
	pthread_mutex_t lock;
	pthread_cond_t wake, gone;
	unsigned threads;   /* alive */
	unsigned listening; /* waiting for a request */
	unsigned parked;    /* waiting for `wake` */
	unsigned called;    /* parked threads told to listen */
	bool watched;       /* a parked thread watches the team */
	bool over;
	int result;
	uint64_t turns;        /* requests received */
	struct loop_read last; /* as announced */
};

static void *run_thread(void *arg);

struct loop *loop_new(struct fuse_session *session, unsigned max_threads, const struct loop_teams *teams)
{
	struct loop *l = calloc(1, sizeof(*l));
	pthread_condattr_t monotonic;

	if (!l)
		return NULL;
	l->session = session;
	l->max_threads = max_threads;
	l->teams = *teams;
	pthread_mutex_init(&l->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&l->wake, &monotonic);
	pthread_cond_init(&l->gone, NULL);
	pthread_condattr_destroy(&monotonic);
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	pthread_cond_destroy(&l->gone);
	pthread_cond_destroy(&l->wake);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

struct loop_teams loop_teams(void)
{
	cpu_set_t cpus;
	const int count = sched_getaffinity(0, sizeof(cpus), &cpus) ? 1 : CPU_COUNT(&cpus);

	return (struct loop_teams){.ahead = count < 3 ? 1 : TEAM_MAX, .in_turn = count == 2 ? TEAM_MAX : 1};
}

unsigned loop_threads(const struct loop_teams *teams)
{
	return teams->ahead > teams->in_turn ? teams->ahead : teams->in_turn;
}

/* ---- all below but run_thread and loop_run: the lock is held ---- */

static unsigned team(const struct loop *l)
{
	return l->last.in_turn ? l->teams.in_turn : l->teams.ahead;
}

/* At the limit, or if no thread can be created, the existing ones must do. */
static void add_thread(struct loop *l)
{
	pthread_t thread;

	if (l->threads >= l->max_threads || pthread_create(&thread, NULL, run_thread, l))
		return;
	pthread_detach(thread);
	l->threads++;
}

/* Wakes a parked thread to listen. Returns false if there is none left. */
static bool call(struct loop *l)
{
	if (l->parked <= l->called)
		return false;
	l->called++;
	pthread_cond_signal(&l->wake);
	return true;
}

/* If no thread listens any more, another must listen or watch the team. */
static void provide(struct loop *l)
{
	if (l->listening)
		return;
	if (!l->last.single || l->threads - l->parked + l->called < team(l)) {
		if (!call(l))
			add_thread(l);
	} else if (!l->watched) {
		if (l->parked)
			pthread_cond_signal(&l->wake);
		else
			add_thread(l);
	}
}

static bool wait_tick(struct loop *l)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	t.tv_nsec += TICK_NS;
	if (t.tv_nsec >= 1000000000) {
		t.tv_nsec -= 1000000000;
		t.tv_sec++;
	}
	return pthread_cond_timedwait(&l->wake, &l->lock, &t) == ETIMEDOUT;
}

/* Returns when called, when the team is stuck, or when the session is over. */
static void park(struct loop *l)
{
	bool quiet = false, stuck = false;

	l->parked++;
	while (!l->over && !l->called && !stuck) {
		const uint64_t turns = l->turns;

		if (l->watched || quiet) {
			pthread_cond_wait(&l->wake, &l->lock);
			quiet = false;
			continue;
		}
		l->watched = true;
		if (wait_tick(l) && l->turns == turns) {
			quiet = l->listening;
			stuck = !quiet;
		}
		l->watched = false;
	}
	l->parked--;
	if (l->called)
		l->called--;
}

static bool receive(struct loop *l, struct fuse_buf *buf)
{
	int rc;

	l->listening++;
	pthread_mutex_unlock(&l->lock);
	do
		rc = fuse_session_receive_buf(l->session, buf);
	while (rc == -EINTR && !fuse_session_exited(l->session));
	pthread_mutex_lock(&l->lock);
	l->listening--;
	if (rc > 0) {
		l->turns++;
		return true;
	}
	/* Unmounted, or this thread cannot go on but others may. */
	if (rc < 0 && rc != -EINTR)
		l->result = rc;
	else
		l->over = true;
	return false;
}

static void work(struct loop *l)
{
	struct fuse_buf buf = {0};

	for (;;) {
		if (l->listening >= team(l) && l->last.single)
			park(l);
		if (l->over || !receive(l, &buf))
			break;
		provide(l);
		pthread_mutex_unlock(&l->lock);
		fuse_session_process_buf(l->session, &buf);
		pthread_mutex_lock(&l->lock);
	}
	free(buf.mem);
	l->threads--;
	if (l->over)
		pthread_cond_broadcast(&l->wake);
	else
		call(l);
	if (!l->threads)
		pthread_cond_signal(&l->gone);
}

/* A new thread parks first if there is a single reader, as an existing one would. */
static void *run_thread(void *arg)
{
	struct loop *l = arg;

	pthread_mutex_lock(&l->lock);
	if (l->last.single)
		park(l);
	work(l);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

int loop_run(struct loop *l)
{
	int rc;

	pthread_mutex_lock(&l->lock);
	l->threads++;
	work(l);
	while (l->threads)
		pthread_cond_wait(&l->gone, &l->lock);
	rc = l->over ? 0 : l->result;
	pthread_mutex_unlock(&l->lock);
	fuse_session_reset(l->session);
	return rc;
}

void loop_note_read(struct loop *l, const struct loop_read *r)
{
	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	l->last = *r;
	provide(l);
	pthread_mutex_unlock(&l->lock);
}

bool loop_is_quiet(const struct loop *l)
{
	struct pollfd device = {.fd = l ? fuse_session_fd(l->session) : -1, .events = POLLIN};

	return l && poll(&device, 1, 0) == 0;
}
