/* SPDX-License-Identifier: MIT */
#include "offline/pour.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "offline/workers.h"

struct stream {
	const struct pouring *p;
	pthread_mutex_t lock;
	pthread_cond_t turned;
	uint64_t taken, written; /* portions */
	bool over;               /* there are no more portions, or something failed */
	bool writing;
	int failed; /* 0, or the first error */
};

static int write_all(int fd, const char *bytes, size_t size)
{
	while (size) {
		const ssize_t n = write(fd, bytes, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		bytes += n;
		size -= (size_t)n;
	}
	return 0;
}

static int write_portion(const struct stream *s, const struct portion *portion, const struct gptqfs_reply *reply)
{
	static const char zeros[4096];
	size_t left = portion->zeros;
	int rc = write_all(s->p->fd, portion->text, portion->text_bytes);

	for (int i = 0; rc == 0 && i < reply->count; i++)
		rc = write_all(s->p->fd, reply->iov[i].iov_base, reply->iov[i].iov_len);
	while (rc == 0 && left) {
		const size_t n = left < sizeof(zeros) ? left : sizeof(zeros);

		rc = write_all(s->p->fd, zeros, n);
		left -= n;
	}
	return rc;
}

static int read_portion(const struct stream *s, const struct portion *portion, struct gptqfs_reply *reply)
{
	int rc;

	*reply = (struct gptqfs_reply){0};
	if (!portion->bytes)
		return 0;
	rc = gptqfs_read(s->p->model, portion->ino, portion->at, portion->bytes, reply);
	if (rc == 0 && reply->bytes != portion->bytes) {
		gptqfs_read_done(s->p->model, reply);
		rc = -EIO;
	}
	return rc;
}

static void stop(struct stream *s, int rc, bool writing)
{
	s->over = true;
	if (rc && !s->failed) {
		s->failed = rc;
		s->writing = writing;
	}
	pthread_cond_broadcast(&s->turned);
}

/* Computes one portion, and writes it when those before it are written. The lock is held, but not meanwhile. */
static void pour_one(struct stream *s, const struct portion *portion)
{
	const uint64_t turn = s->taken++;
	struct gptqfs_reply reply;
	int rc, failed;

	pthread_mutex_unlock(&s->lock);
	failed = read_portion(s, portion, &reply);
	pthread_mutex_lock(&s->lock);
	while (s->written != turn && !s->failed)
		pthread_cond_wait(&s->turned, &s->lock);
	if (failed)
		stop(s, failed, false);
	if (!s->failed) {
		/* Others wait until it is their turn, and do not touch the descriptor. */
		pthread_mutex_unlock(&s->lock);
		rc = write_portion(s, portion, &reply);
		pthread_mutex_lock(&s->lock);
		if (rc)
			stop(s, rc, true);
		else if (s->p->written)
			atomic_fetch_add_explicit(s->p->written, portion->bytes, memory_order_relaxed);
	}
	s->written++;
	pthread_cond_broadcast(&s->turned);
	pthread_mutex_unlock(&s->lock);
	if (!failed && portion->bytes)
		gptqfs_read_done(s->p->model, &reply);
	pthread_mutex_lock(&s->lock);
}

static void *pour_some(void *arg)
{
	struct stream *s = arg;
	struct portion portion;
	int rc;

	pthread_mutex_lock(&s->lock);
	while (!s->over) {
		portion = (struct portion){0};
		rc = s->p->next(s->p->ctx, &portion);
		if (rc == 1)
			pour_one(s, &portion);
		else
			stop(s, rc, false);
		free(portion.text);
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int pour(const struct pouring *pouring, bool *writing)
{
	struct stream s = {.p = pouring};

	pthread_mutex_init(&s.lock, NULL);
	pthread_cond_init(&s.turned, NULL);
	workers_run(workers_count(pouring->threads), pour_some, &s);
	pthread_cond_destroy(&s.turned);
	pthread_mutex_destroy(&s.lock);
	*writing = s.writing;
	return s.failed;
}
