/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

/* The loop over a fake session: requests come from a queue, and their effects are part of the test. */

#include "../../fs/serve/loop.h"
#include "read/stream.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../test.h"

#define QUEUE_MAX 1024
#define PATIENCE_S 20

enum kind {
	NEXT,      /* a read that continues the previous one */
	SKIP,      /* one that skips a few bytes */
	ELSEWHERE, /* one far away */
	HOLD,      /* the same, but not answered before RELEASE */
	HOLD_NEXT, /* as HOLD, but continues the previous one */
	RELEASE,   /* no read */
};

struct fuse_session {
	struct loop *loop;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum kind queue[QUEUE_MAX];
	unsigned posted, received, done;
	unsigned listening; /* threads that wait for a request */
	bool released, closed, in_turn;
	int error; /* instead of any request */
	uint64_t offset;
	struct stream stream;
	pthread_t last;
	unsigned switches; /* how often the thread changed */
	pthread_t thread;
	int result;
	int device; /* polled to see whether a request waits */
};

/* ---- instead of libfuse ---- */

int fuse_session_receive_buf(struct fuse_session *s, struct fuse_buf *buf)
{
	int rc;

	if (!buf->mem)
		buf->mem = malloc(1);
	pthread_mutex_lock(&s->lock);
	s->listening++;
	while (!s->closed && !s->error && s->received == s->posted)
		pthread_cond_wait(&s->changed, &s->lock);
	s->listening--;
	rc = s->error ? s->error : s->received < s->posted;
	if (rc > 0) {
		buf->size = s->queue[s->received++];
		s->switches += !pthread_equal(s->last, pthread_self());
		s->last = pthread_self();
	}
	pthread_mutex_unlock(&s->lock);
	return rc;
}

void fuse_session_process_buf(struct fuse_session *s, const struct fuse_buf *buf)
{
	const enum kind kind = (enum kind)buf->size;

	pthread_mutex_lock(&s->lock);
	if (kind == ELSEWHERE || kind == HOLD)
		s->offset += (uint64_t)1 << 30;
	if (kind == SKIP)
		s->offset += 1000;
	if (kind != RELEASE) {
		stream_note(&s->stream, s, s->offset++, 1);
		loop_note_read(s->loop, &(struct loop_read){s->stream.followed >= 8, s->in_turn});
	}
	while ((kind == HOLD || kind == HOLD_NEXT) && !s->released)
		pthread_cond_wait(&s->changed, &s->lock);
	if (kind == RELEASE)
		s->released = true;
	s->done++;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

int fuse_session_exited(struct fuse_session *s)
{
	return s->closed;
}

int fuse_session_fd(struct fuse_session *s)
{
	return s->device;
}

void fuse_session_reset(struct fuse_session *s)
{
	(void)s;
}

/* ---- the kernel's side ---- */

static void *run(void *arg)
{
	struct fuse_session *s = arg;

	s->result = loop_run(s->loop);
	return NULL;
}

static void begin_with(struct fuse_session *s, unsigned threads, const struct loop_teams *teams)
{
	*s = (struct fuse_session){0};
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->changed, NULL);
	s->loop = loop_new(s, threads, teams);
	CHECK(s->loop && pthread_create(&s->thread, NULL, run, s) == 0);
}

static void begin(struct fuse_session *s, unsigned threads, unsigned team)
{
	begin_with(s, threads, &(struct loop_teams){.ahead = team, .in_turn = 1});
}

static void post(struct fuse_session *s, enum kind kind)
{
	pthread_mutex_lock(&s->lock);
	s->queue[s->posted++] = kind;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
}

/* Waits until this many were answered. */
static bool answered(struct fuse_session *s, unsigned count)
{
	struct timespec end;
	bool done;

	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += PATIENCE_S;
	pthread_mutex_lock(&s->lock);
	while (s->done < count && pthread_cond_timedwait(&s->changed, &s->lock, &end) == 0)
		;
	done = s->done >= count;
	pthread_mutex_unlock(&s->lock);
	return done;
}

/* Requests of one reader, one at a time. */
static void read_on(struct fuse_session *s, unsigned count)
{
	const unsigned before = s->posted;

	for (unsigned i = 1; i <= count; i++) {
		post(s, NEXT);
		CHECK(answered(s, before + i));
	}
}

/* Requests of several readers, all at once. Held ones wait for a RELEASE among them. */
static void ask(struct fuse_session *s, const enum kind *kinds, unsigned count)
{
	const unsigned before = s->posted;

	pthread_mutex_lock(&s->lock);
	s->released = false;
	pthread_mutex_unlock(&s->lock);
	for (unsigned i = 0; i < count; i++)
		post(s, kinds[i]);
	CHECK(answered(s, before + count));
}

static int finish(struct fuse_session *s)
{
	pthread_mutex_lock(&s->lock);
	s->closed = s->released = true;
	pthread_cond_broadcast(&s->changed);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	CHECK(s->done == s->posted);
	loop_free(s->loop);
	pthread_cond_destroy(&s->changed);
	pthread_mutex_destroy(&s->lock);
	return s->result;
}

/* True if this many threads eventually listen. */
static bool listen_to(struct fuse_session *s, unsigned count)
{
	bool do_so = false;

	for (int i = 0; i < PATIENCE_S * 1000 && !do_so; i++) {
		pthread_mutex_lock(&s->lock);
		do_so = s->listening == count;
		pthread_mutex_unlock(&s->lock);
		usleep(1000);
	}
	return do_so;
}

/* On a busy machine a thread may sometimes seem stuck. */
static bool one_serves(struct fuse_session *s)
{
	read_on(s, 100);
	s->switches = 0;
	read_on(s, 300);
	return s->switches < 100;
}

/* ---- tests ---- */

static void test_one_reader(void)
{
	struct fuse_session s;

	begin(&s, 10, 1);
	CHECK(one_serves(&s));
	CHECK(finish(&s) == 0);
}

/* The team of the one reader waits for a request that another thread must take. */
static void test_held_up(unsigned held, unsigned team)
{
	static const enum kind kinds[] = {HOLD_NEXT, HOLD_NEXT, HOLD_NEXT, RELEASE};
	struct fuse_session s;

	begin(&s, 10, team);
	read_on(&s, 50);
	ask(&s, kinds + 3 - held, held + 1);
	/* Continues as before. */
	read_on(&s, 50);
	CHECK(finish(&s) == 0);
}

/* Several readers: as many are served at once as there are threads. */
static void test_many(void)
{
	static const enum kind kinds[] = {HOLD, HOLD, HOLD, RELEASE};
	struct fuse_session s;

	begin(&s, 4, 2);
	for (int round = 0; round < 20; round++)
		ask(&s, kinds, 4);
	CHECK(finish(&s) == 0);
}

/* One reader with two requests at a time: the first is held until the second is answered. */
static void test_team(struct loop_teams teams)
{
	static const enum kind kinds[] = {HOLD_NEXT, RELEASE};
	struct fuse_session s;

	begin_with(&s, 10, &teams);
	for (int round = 0; round < 100; round++)
		ask(&s, kinds, 2);
	CHECK(one_serves(&s) || teams.ahead > 1);
	/* All of the team listen, and no other thread. */
	CHECK(listen_to(&s, teams.ahead));
	s.in_turn = true;
	CHECK(one_serves(&s) || teams.in_turn > 1);
	CHECK(listen_to(&s, teams.in_turn));
	CHECK(finish(&s) == 0);
}

/* Requests of all kinds, several at a time: none is lost. */
static void test_storm(unsigned threads, unsigned team)
{
	uint64_t seed = threads + team;
	struct fuse_session s;

	begin(&s, threads, team);
	for (int round = 0; round < 200; round++) {
		const unsigned before = s.posted, odd = (round / 10) % 3;

		for (unsigned i = 0; i < 5 && s.posted < QUEUE_MAX; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			post(&s, seed >> 62 < odd ? SKIP + (seed >> 61 & 1) : NEXT);
			if (seed >> 40 & 1)
				CHECK(answered(&s, s.posted));
		}
		CHECK(answered(&s, s.posted) && s.posted > before);
	}
	CHECK(finish(&s) == 0);
}

/* From one reader to several and back. */
static void test_changes(void)
{
	static const enum kind kinds[] = {HOLD, ELSEWHERE, RELEASE};
	struct fuse_session s;

	begin(&s, 3, 1);
	for (int round = 0; round < 10; round++) {
		read_on(&s, 20);
		ask(&s, kinds, 3);
	}
	CHECK(finish(&s) == 0);
}

static void test_one_thread(void)
{
	struct fuse_session s;

	begin(&s, 1, 1);
	read_on(&s, 20);
	for (int i = 0; i < 10; i++)
		post(&s, ELSEWHERE);
	CHECK(answered(&s, 30));
	CHECK(s.switches == 1);
	CHECK(finish(&s) == 0);
}

/* At the end threads may be listening, or sleeping. */
static void test_end(void)
{
	struct fuse_session s;

	begin(&s, 10, 1);
	CHECK(finish(&s) == 0);
	begin(&s, 10, 2);
	for (int i = 0; i < 100; i++)
		post(&s, ELSEWHERE);
	read_on(&s, 20);
	CHECK(finish(&s) == 0);
}

static void test_error(void)
{
	struct fuse_session s;

	begin(&s, 10, 1);
	read_on(&s, 20);
	pthread_mutex_lock(&s.lock);
	s.error = -EIO;
	pthread_cond_broadcast(&s.changed);
	pthread_mutex_unlock(&s.lock);
	CHECK(finish(&s) == -EIO);
}

static void test_quiet(void)
{
	struct fuse_session s;
	int fd[2];

	CHECK(pipe(fd) == 0);
	begin(&s, 2, 1);
	s.device = fd[0];
	CHECK(loop_is_quiet(s.loop) && !loop_is_quiet(NULL));
	CHECK(write(fd[1], "", 1) == 1);
	CHECK(!loop_is_quiet(s.loop));
	CHECK(finish(&s) == 0);
	close(fd[0]);
	close(fd[1]);
}

int main(void)
{
	test_one_reader();
	for (unsigned team = 1; team <= 3; team++) {
		test_held_up(1, team);
		test_held_up(3, team);
		test_team((struct loop_teams){.ahead = team, .in_turn = 1 + team % 2});
		test_storm(4, team);
		test_storm(10, team);
	}
	test_many();
	test_changes();
	test_one_thread();
	test_end();
	test_error();
	test_quiet();
	return test_done();
}
