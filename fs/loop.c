/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "loop.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

/* Reads that must have followed one another before they are served by one thread. */
#define FOLLOWED_MIN 8
/* How often somebody looks whether that thread is held up. A megabyte takes 0.2 ms. */
#define TICK_NS (2L * 1000 * 1000)
/* Reads that were taken by two threads at once may be noted in any order, this far apart. */
#define SHUFFLE_MAX ((uint64_t)8 << 20)
#define TEAM_MAX 2

struct loop {
	struct fuse_session *session;
	unsigned max_threads, team;
	pthread_mutex_t lock;
	pthread_cond_t wake, gone;
	unsigned threads;   /* that live */
	unsigned listening; /* of them wait for a request */
	unsigned parked;    /* of them wait for `wake` */
	unsigned called;    /* parked ones that shall listen */
	bool watched;       /* one of the parked looks after the rest */
	bool over;
	int result;
	uint64_t turns; /* requests received */
	/* The last read, and how many have followed one another. */
	uint64_t ino, next;
	unsigned followed;
	bool in_turn; /* he waits for each answer before he asks again */
};

static void *run_thread(void *arg);

struct loop *loop_new(struct fuse_session *session, unsigned max_threads, unsigned team)
{
	struct loop *l = calloc(1, sizeof(*l));
	pthread_condattr_t monotonic;

	if (!l)
		return NULL;
	l->session = session;
	l->max_threads = max_threads;
	l->team = team;
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

unsigned loop_team(void)
{
	cpu_set_t cpus;
	const int count = sched_getaffinity(0, sizeof(cpus), &cpus) ? 1 : CPU_COUNT(&cpus);

	return count < 3 ? 1 : TEAM_MAX;
}

/* ---- all below but run_thread and loop_run: the lock is held ---- */

static bool is_one_reader(const struct loop *l)
{
	return l->followed >= FOLLOWED_MIN;
}

/* Where there is never more than one request, each would be the one for which another thread must wake up. */
static unsigned team(const struct loop *l)
{
	return l->in_turn ? 1 : l->team;
}

/* If there cannot be one more, those that are there do. */
static void add_thread(struct loop *l)
{
	pthread_t thread;

	if (l->threads >= l->max_threads || pthread_create(&thread, NULL, run_thread, l))
		return;
	pthread_detach(thread);
	l->threads++;
}

/* One of the parked shall listen. False if there is none left to call. */
static bool call(struct loop *l)
{
	if (l->parked <= l->called)
		return false;
	l->called++;
	pthread_cond_signal(&l->wake);
	return true;
}

/* If all who listened are busy, somebody else must listen, or watch. */
static void provide(struct loop *l)
{
	if (l->listening)
		return;
	if (!is_one_reader(l) || l->threads - l->parked + l->called < team(l)) {
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

/* Returns when called, when the one that serves is held up, or when all is over. */
static void park(struct loop *l)
{
	bool quiet = false, held_up = false;

	l->parked++;
	while (!l->over && !l->called && !held_up) {
		const uint64_t turns = l->turns;

		if (l->watched || quiet) {
			pthread_cond_wait(&l->wake, &l->lock);
			quiet = false;
			continue;
		}
		l->watched = true;
		if (wait_tick(l) && l->turns == turns) {
			quiet = l->listening;
			held_up = !quiet;
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
	/* Unmounted; or this thread cannot go on, but others may. */
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
		if (l->listening >= team(l) && is_one_reader(l))
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

/* A new one watches if it was made for that, and listens if not: what it would be if it had been there. */
static void *run_thread(void *arg)
{
	struct loop *l = arg;

	pthread_mutex_lock(&l->lock);
	if (is_one_reader(l))
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
	const uint64_t end = r->offset + r->size;

	if (!l)
		return;
	pthread_mutex_lock(&l->lock);
	if (l->ino != r->ino || l->next > r->offset + SHUFFLE_MAX || r->offset > l->next + SHUFFLE_MAX)
		l->followed = 0;
	else if (l->next == r->offset)
		l->followed++;
	else if (l->next < r->offset)
		l->followed /= 2;
	if (!l->followed || l->next < end)
		l->next = end;
	l->ino = r->ino;
	l->in_turn = r->in_turn;
	provide(l);
	pthread_mutex_unlock(&l->lock);
}

bool loop_is_quiet(const struct loop *l)
{
	struct pollfd device = {.fd = l ? fuse_session_fd(l->session) : -1, .events = POLLIN};

	return l && poll(&device, 1, 0) == 0;
}
