/* SPDX-License-Identifier: MIT */
#include "ahead.h"

#include <pthread.h>
#include <stdlib.h>

/* Readers that are told from one another; with one more, the one that has been idle longest is forgotten. */
#define STREAMS 8
/* Requests of one size that must have followed one another before the next is computed. */
#define FOLLOWED_MIN 2
/* Below this, asking and waiting cost more than computing. */
#define AHEAD_MIN ((size_t)16 << 10)
/* Requests of one reader that are on their way together may arrive in any order, this far apart. */
#define SHUFFLE_MAX (8 * (uint64_t)GPTQFS_READ_MAX)

/* How far ahead of a stream, in bytes of the file, pages of the source are fetched: 32 MiB of 4-bit weights, which is
 * more than one tensor, and what a disk brings in the time a stream takes for it; and in steps of what size. */
#define FETCH_AHEAD ((uint64_t)128 << 20)
#define FETCH_STEP ((uint64_t)8 << 20)
/* How far behind it pages are given back. */
#define RELEASE_BEHIND ((uint64_t)32 << 20)

enum { EMPTY, FILLING, READY };

/* Somebody who reads a file from front to back. */
struct stream {
	const struct layout *layout; /* NULL: a free place */
	uint64_t next;               /* the end of what was asked for */
	size_t size;                 /* of the last request */
	unsigned followed;           /* requests of that size, one right after the other */
	uint64_t used;               /* when, counted in requests */
	uint64_t fetched, released;  /* up to where in the file pages of the source were */
	/* What was computed ahead. */
	int state;
	unsigned age;
	struct range range;
	struct gptqfs_reply reply;
};

struct ahead {
	struct reader *reader;
	pthread_mutex_t lock;
	pthread_cond_t filled;
	uint64_t requests;
	struct stream streams[STREAMS];
};

struct ahead *ahead_new(struct reader *reader)
{
	struct ahead *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->reader = reader;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->filled, NULL);
	return a;
}

/* ---- streams; the lock is held ---- */

static void drop(struct ahead *a, struct stream *s)
{
	if (s->state == READY) {
		reader_done(a->reader, &s->reply);
		s->state = EMPTY;
	}
}

/* The stream that has come just so far in the file, or if `apart` is not 0, nearly. */
static struct stream *find(struct ahead *a, const struct layout *layout, uint64_t at, uint64_t apart)
{
	for (struct stream *s = a->streams; s < a->streams + STREAMS; s++)
		if (s->layout == layout && s->next <= at + apart && at <= s->next + apart)
			return s;
	return NULL;
}

/* A place for a new stream; NULL if something is being computed for every one. */
static struct stream *replace(struct ahead *a)
{
	struct stream *oldest = NULL;

	for (struct stream *s = a->streams; s < a->streams + STREAMS; s++)
		if (s->state != FILLING && (!oldest || s->used < oldest->used))
			oldest = s;
	if (oldest) {
		drop(a, oldest);
		*oldest = (struct stream){0};
	}
	return oldest;
}

/* Finds the stream this request belongs to, or begins one, and notes the request. */
static struct stream *note(struct ahead *a, const struct range *range)
{
	const uint64_t end = range->offset + range->size;
	struct stream *s = find(a, range->layout, range->offset, 0);

	if (!s)
		s = find(a, range->layout, range->offset, SHUFFLE_MAX);
	if (!s)
		s = replace(a);
	if (!s)
		return NULL;
	s->followed = s->layout && s->next == range->offset && s->size == range->size ? s->followed + 1 : 0;
	if (!s->layout || range->offset == 0)
		s->fetched = s->released = range->offset;
	s->layout = range->layout;
	s->size = range->size;
	s->used = ++a->requests;
	if (s->next < end || range->offset == 0)
		s->next = end;
	return s;
}

static uint64_t end_of(const struct extent *e)
{
	return e->offset + e->length;
}

static void fetch_ahead(const struct ahead *a, struct stream *s)
{
	uint64_t goal = s->next + FETCH_AHEAD;
	bool room = true;

	if (s->fetched < s->next)
		s->fetched = s->next;
	if (goal > s->layout->size)
		goal = s->layout->size;
	else if (goal < s->fetched + FETCH_STEP)
		return;
	while (room && s->fetched < goal) {
		const struct extent *e = layout_find(s->layout, s->fetched);
		const uint64_t end = end_of(e) < goal ? end_of(e) : goal;

		room = pager_plan(a->reader->pager, e, s->fetched - e->offset, end - s->fetched);
		if (room)
			s->fetched = end;
	}
}

static void release_behind(const struct ahead *a, struct stream *s)
{
	while (s->released + RELEASE_BEHIND < s->next) {
		const struct extent *e = layout_find(s->layout, s->released);

		if (end_of(e) + RELEASE_BEHIND > s->next || !pager_release(a->reader->pager, e))
			return;
		s->released = end_of(e);
	}
}

static bool is_for(const struct stream *s, const struct range *range)
{
	return s->state != EMPTY && s->range.layout == range->layout && s->range.offset == range->offset &&
	       s->range.size == range->size;
}

/* ---- reading, and computing ahead ---- */

static bool take(struct ahead *a, const struct range *range, struct gptqfs_reply *reply)
{
	struct stream *s;
	bool taken;

	pthread_mutex_lock(&a->lock);
	s = note(a, range);
	if (s && s->followed >= FOLLOWED_MIN) {
		fetch_ahead(a, s);
		release_behind(a, s);
	}
	while (s && is_for(s, range) && s->state == FILLING)
		pthread_cond_wait(&a->filled, &a->lock);
	taken = s && is_for(s, range);
	if (taken) {
		*reply = s->reply;
		s->state = EMPTY;
	}
	pthread_mutex_unlock(&a->lock);
	return taken;
}

int ahead_read(struct ahead *a, const struct range *range, struct gptqfs_reply *reply)
{
	if (range->size >= AHEAD_MIN && take(a, range, reply))
		return 0;
	return reader_read(a->reader, range, reply);
}

/* The stream whose next request is foreseeable, or NULL. */
static struct stream *begin(struct ahead *a, const struct range *range)
{
	const uint64_t end = range->offset + range->size;
	struct stream *s = find(a, range->layout, end, 0);

	if (!s || s->followed < FOLLOWED_MIN || end == s->layout->size || s->state == FILLING)
		return NULL;
	drop(a, s);
	s->state = FILLING;
	s->age = 0;
	s->range = *range;
	s->range.offset = end;
	if (s->range.size > s->layout->size - end)
		s->range.size = (size_t)(s->layout->size - end);
	return s;
}

void ahead_continue(struct ahead *a, const struct range *range)
{
	struct gptqfs_reply reply;
	struct stream *s;
	int rc;

	if (range->size < AHEAD_MIN)
		return;
	pthread_mutex_lock(&a->lock);
	s = begin(a, range);
	pthread_mutex_unlock(&a->lock);
	if (!s)
		return;
	/* Nobody forgets a stream while it is FILLING. A failure is told to whoever asks for these bytes in earnest. */
	rc = reader_read(a->reader, &s->range, &reply);
	pthread_mutex_lock(&a->lock);
	s->state = rc ? EMPTY : READY;
	if (rc == 0)
		s->reply = reply;
	pthread_cond_broadcast(&a->filled);
	pthread_mutex_unlock(&a->lock);
}

bool ahead_trim(struct ahead *a)
{
	bool left = false;

	pthread_mutex_lock(&a->lock);
	for (struct stream *s = a->streams; s < a->streams + STREAMS; s++) {
		if (s->state == READY && s->age++)
			drop(a, s);
		left |= s->state != EMPTY;
	}
	pthread_mutex_unlock(&a->lock);
	return left;
}

void ahead_free(struct ahead *a)
{
	if (!a)
		return;
	for (struct stream *s = a->streams; s < a->streams + STREAMS; s++)
		drop(a, s);
	pthread_cond_destroy(&a->filled);
	pthread_mutex_destroy(&a->lock);
	free(a);
}
