/* SPDX-License-Identifier: MIT */
#include "read/ahead.h"

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

/* What was computed ahead: one request. */
struct block {
	enum { EMPTY, FILLING, READY } state;
	unsigned age;
	struct range range;
	struct gptqfs_reply reply;
};

/* Somebody who reads a file from front to back. */
struct stream {
	const struct layout *layout; /* NULL: a free place */
	uint64_t next;               /* the end of what was asked for */
	size_t size;                 /* of the last request */
	unsigned followed;           /* requests of that size, one right after the other */
	uint64_t used;               /* when, counted in requests */
	uint64_t fetched, released;  /* up to where in the file pages of the source were */
	struct block blocks[GPTQFS_AHEAD_MAX];
};

struct ahead {
	struct reader *reader;
	unsigned depth; /* blocks of a stream that are in use */
	pthread_mutex_t lock;
	pthread_cond_t filled;
	uint64_t requests;
	struct stream streams[STREAMS];
};

struct ahead *ahead_new(struct reader *reader, unsigned depth)
{
	struct ahead *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->reader = reader;
	a->depth = depth;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->filled, NULL);
	return a;
}

/* ---- streams; the lock is held ---- */

static void drop(struct ahead *a, struct block *b)
{
	if (b->state == READY) {
		reader_done(a->reader, &b->reply);
		b->state = EMPTY;
	}
}

static void drop_all(struct ahead *a, struct stream *s)
{
	for (struct block *b = s->blocks; b < s->blocks + a->depth; b++)
		drop(a, b);
}

static bool is_filling(const struct ahead *a, const struct stream *s)
{
	for (const struct block *b = s->blocks; b < s->blocks + a->depth; b++)
		if (b->state == FILLING)
			return true;
	return false;
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
		if (!is_filling(a, s) && (!oldest || s->used < oldest->used))
			oldest = s;
	if (!oldest)
		return NULL;
	drop_all(a, oldest);
	*oldest = (struct stream){0};
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
	if (!s->layout || s->size != range->size)
		s->followed = 0;
	else if (s->next == range->offset)
		s->followed++;
	else if (s->next < range->offset)
		s->followed /= 2; /* the ones between may come late; or it is no longer read from front to back */
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

/* The block that holds these bytes, or will; NULL if none does. */
static struct block *block_for(const struct ahead *a, struct stream *s, const struct range *range)
{
	for (struct block *b = s->blocks; b < s->blocks + a->depth; b++)
		if (b->state != EMPTY && b->range.layout == range->layout && b->range.offset == range->offset &&
		    b->range.size == range->size)
			return b;
	return NULL;
}

/* One that can be filled, whose bytes are not among the next ones; NULL if there is none. */
static struct block *spare_block(struct ahead *a, struct stream *s)
{
	const uint64_t end = s->next + (uint64_t)a->depth * s->size;

	for (struct block *b = s->blocks; b < s->blocks + a->depth; b++) {
		if (b->state == READY && (b->range.offset < s->next || b->range.offset >= end))
			drop(a, b);
		if (b->state == EMPTY)
			return b;
	}
	return NULL;
}

/* ---- reading, and computing ahead ---- */

static bool take(struct ahead *a, const struct range *range, struct gptqfs_reply *reply)
{
	struct block *b = NULL;
	struct stream *s;

	pthread_mutex_lock(&a->lock);
	s = note(a, range);
	if (s && s->followed >= FOLLOWED_MIN) {
		fetch_ahead(a, s);
		release_behind(a, s);
	}
	while (s && (b = block_for(a, s, range)) && b->state == FILLING)
		pthread_cond_wait(&a->filled, &a->lock);
	if (b) {
		*reply = b->reply;
		b->state = EMPTY;
	}
	pthread_mutex_unlock(&a->lock);
	return b;
}

int ahead_read(struct ahead *a, const struct range *range, struct gptqfs_reply *reply)
{
	if (range->size >= AHEAD_MIN && take(a, range, reply))
		return 0;
	return reader_read(a->reader, range, reply);
}

/* The first of the next requests of this stream that nobody computes yet. False if there is none. */
static bool foresee(const struct ahead *a, struct stream *s, struct range *range)
{
	for (unsigned i = 0; i < a->depth; i++) {
		const uint64_t at = s->next + (uint64_t)i * s->size;

		if (at >= s->layout->size)
			return false;
		*range = (struct range){s->layout, at, s->size};
		if (range->size > s->layout->size - at)
			range->size = (size_t)(s->layout->size - at);
		if (!block_for(a, s, range))
			return true;
	}
	return false;
}

/* The block to fill after this request was answered, or NULL. While others serve the same reader too, he may have asked
 * for more already. */
static struct block *begin(struct ahead *a, const struct range *range)
{
	const uint64_t end = range->offset + range->size;
	struct stream *s = find(a, range->layout, end, (uint64_t)(a->depth - 1) * range->size);
	struct range next;
	struct block *b;

	if (!s || s->followed < FOLLOWED_MIN || !foresee(a, s, &next))
		return NULL;
	b = spare_block(a, s);
	if (b)
		*b = (struct block){.state = FILLING, .range = next};
	return b;
}

void ahead_continue(struct ahead *a, const struct range *range)
{
	struct block *b;
	int rc;

	if (range->size < AHEAD_MIN)
		return;
	pthread_mutex_lock(&a->lock);
	b = begin(a, range);
	pthread_mutex_unlock(&a->lock);
	if (!b)
		return;
	/* Nobody touches a block while it is FILLING. A failure is told to whoever asks for these bytes in earnest. */
	rc = reader_read(a->reader, &b->range, &b->reply);
	pthread_mutex_lock(&a->lock);
	b->state = rc ? EMPTY : READY;
	pthread_cond_broadcast(&a->filled);
	pthread_mutex_unlock(&a->lock);
}

bool ahead_trim(struct ahead *a)
{
	bool left = false;

	pthread_mutex_lock(&a->lock);
	for (struct stream *s = a->streams; s < a->streams + STREAMS; s++)
		for (struct block *b = s->blocks; b < s->blocks + a->depth; b++) {
			if (b->state == READY && b->age++)
				drop(a, b);
			left |= b->state != EMPTY;
		}
	pthread_mutex_unlock(&a->lock);
	return left;
}

void ahead_free(struct ahead *a)
{
	if (!a)
		return;
	for (struct stream *s = a->streams; s < a->streams + STREAMS; s++)
		drop_all(a, s);
	pthread_cond_destroy(&a->filled);
	pthread_mutex_destroy(&a->lock);
	free(a);
}
