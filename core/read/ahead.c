/* SPDX-License-Identifier: MIT */
#include "read/ahead.h"

#include <pthread.h>
#include <stdlib.h>

#include "read/stream.h"
#include "tree/layout.h"

/* Readers that are told apart; beyond that, the one idle for longest is forgotten. */
#define STREAMS 8
/* Consecutive requests of one size before the next is computed ahead. */
#define FOLLOWED_MIN 2
/* For smaller requests, handing over costs more than computing. */
#define AHEAD_MIN ((size_t)16 << 10)
/* Consecutive requests, with no others in between, after which their reader counts as the only one. */
#define ALONE_MIN 8

/*
 * How far ahead of a stream source pages are fetched, in bytes of the virtual file, and in steps of what size. This is
 * 32 MiB of 4-bit weights: more than one tensor, and what a disk delivers in the time the stream takes to get there.
 */
#define FETCH_AHEAD ((uint64_t)128 << 20)
#define FETCH_STEP ((uint64_t)8 << 20)
/* How far behind a stream pages are released. */
#define RELEASE_BEHIND ((uint64_t)32 << 20)

/* One request computed ahead. */
struct block {
	enum { EMPTY, FILLING, READY } state;
	unsigned age;
	struct range range;
	struct gptqfs_reply reply;
};

/* A sequential reader of one file. */
struct ahead_stream {
	const struct layout *layout; /* NULL: a free slot */
	struct stream stream;        /* consecutive requests of one size */
	size_t size;                 /* of the last request */
	uint64_t used;               /* last use, counted in requests */
	uint64_t fetched, released;  /* offsets in the file up to which source pages were */
	struct block blocks[GPTQFS_AHEAD_MAX];
};

struct ahead {
	struct reader *reader;
	unsigned depth; /* blocks of a stream that are in use */
	pthread_mutex_t lock;
	pthread_cond_t filled;
	uint64_t requests;
	struct ahead_stream streams[STREAMS];
	struct stream all; /* requests of any size, as if from a single reader */
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

static void drop_all(struct ahead *a, struct ahead_stream *s)
{
	for (struct block *b = s->blocks; b < s->blocks + a->depth; b++)
		drop(a, b);
}

static bool is_filling(const struct ahead *a, const struct ahead_stream *s)
{
	for (const struct block *b = s->blocks; b < s->blocks + a->depth; b++)
		if (b->state == FILLING)
			return true;
	return false;
}

/* Returns the stream that a request at `at` continues, exactly or within `apart` bytes. */
static struct ahead_stream *ahead_find(struct ahead *a, const struct layout *layout, uint64_t at, uint64_t apart)
{
	for (struct ahead_stream *s = a->streams; s < a->streams + STREAMS; s++)
		if (stream_is_near(&s->stream, layout, at, apart))
			return s;
	return NULL;
}

/* Returns a slot for a new stream; NULL if something is being computed for every stream. */
static struct ahead_stream *replace(struct ahead *a)
{
	struct ahead_stream *oldest = NULL;

	for (struct ahead_stream *s = a->streams; s < a->streams + STREAMS; s++)
		if (!is_filling(a, s) && (!oldest || s->used < oldest->used))
			oldest = s;
	if (!oldest)
		return NULL;
	drop_all(a, oldest);
	*oldest = (struct ahead_stream){0};
	return oldest;
}

/* Finds the stream of a request, or starts one, and records the request. */
static struct ahead_stream *note(struct ahead *a, const struct range *range)
{
	struct ahead_stream *s = ahead_find(a, range->layout, range->offset, 0);

	if (!s)
		s = ahead_find(a, range->layout, range->offset, STREAM_SHUFFLE);
	if (!s)
		s = replace(a);
	if (!s)
		return NULL;
	stream_note(&s->stream, range->layout, range->offset, range->size);
	if (s->size != range->size)
		s->stream.followed = 0;
	if (!s->layout || range->offset == 0)
		s->fetched = s->released = range->offset;
	s->layout = range->layout;
	s->size = range->size;
	s->used = ++a->requests;
	return s;
}

static uint64_t ahead_end_of(const struct extent *e)
{
	return e->offset + e->length;
}

static void ahead_fetch(const struct ahead *a, struct ahead_stream *s)
{
	uint64_t goal = s->stream.next + FETCH_AHEAD;
	bool room = true;

	if (s->fetched < s->stream.next)
		s->fetched = s->stream.next;
	if (goal > s->layout->size)
		goal = s->layout->size;
	else if (goal < s->fetched + FETCH_STEP)
		return;
	while (room && s->fetched < goal) {
		const struct extent *e = layout_find(s->layout, s->fetched);
		const uint64_t end = ahead_end_of(e) < goal ? ahead_end_of(e) : goal;

		const struct needs needs = extent_needs(e, s->fetched - e->offset, end - s->fetched);

		room = pager_plan(a->reader->pager, &needs);
		if (room)
			s->fetched = end;
	}
}

static void release_behind(const struct ahead *a, struct ahead_stream *s)
{
	while (s->released + RELEASE_BEHIND < s->stream.next) {
		const struct extent *e = layout_find(s->layout, s->released);

		const struct needs needs = extent_needs(e, 0, e->length);

		if (ahead_end_of(e) + RELEASE_BEHIND > s->stream.next || !pager_release(a->reader->pager, &needs))
			return;
		s->released = ahead_end_of(e);
	}
}

/* Returns the block that holds these bytes or will hold them, or NULL. */
static struct block *block_for(const struct ahead *a, struct ahead_stream *s, const struct range *range)
{
	for (struct block *b = s->blocks; b < s->blocks + a->depth; b++)
		if (b->state != EMPTY && b->range.layout == range->layout && b->range.offset == range->offset &&
		    b->range.size == range->size)
			return b;
	return NULL;
}

/* Returns a block that can be filled and holds none of the next requests, or NULL. */
static struct block *spare_block(struct ahead *a, struct ahead_stream *s)
{
	const uint64_t end = s->stream.next + (uint64_t)a->depth * s->size;

	for (struct block *b = s->blocks; b < s->blocks + a->depth; b++) {
		if (b->state == READY && (b->range.offset < s->stream.next || b->range.offset >= end))
			drop(a, b);
		if (b->state == EMPTY)
			return b;
	}
	return NULL;
}

/* ---- reading, and computing ahead ---- */

static bool ahead_take(struct ahead *a, const struct range *range, struct gptqfs_reply *reply)
{
	struct block *b = NULL;
	struct ahead_stream *s;

	pthread_mutex_lock(&a->lock);
	s = note(a, range);
	if (s && s->stream.followed >= FOLLOWED_MIN) {
		ahead_fetch(a, s);
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

bool ahead_note(struct ahead *a, const struct range *range)
{
	bool alone;

	pthread_mutex_lock(&a->lock);
	stream_note(&a->all, range->layout, range->offset, range->size);
	alone = a->all.followed >= ALONE_MIN;
	pthread_mutex_unlock(&a->lock);
	return alone;
}

int ahead_read(struct ahead *a, const struct range *range, struct gptqfs_reply *reply)
{
	if (range->size >= AHEAD_MIN && ahead_take(a, range, reply))
		return 0;
	return reader_read(a->reader, range, reply);
}

/* Finds the first of the stream's next requests that is not being computed. Returns false if there is none. */
static bool foresee(const struct ahead *a, struct ahead_stream *s, struct range *range)
{
	for (unsigned i = 0; i < a->depth; i++) {
		const uint64_t at = s->stream.next + (uint64_t)i * s->size;

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

/*
 * Returns the block to fill after this request was answered, or NULL. If other threads serve the same reader, it may
 * already have issued further requests.
 */
static struct block *begin(struct ahead *a, const struct range *range)
{
	const uint64_t end = range->offset + range->size;
	struct ahead_stream *s = ahead_find(a, range->layout, end, (uint64_t)(a->depth - 1) * range->size);
	struct range next;
	struct block *b;

	if (!s || s->stream.followed < FOLLOWED_MIN || !foresee(a, s, &next))
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

	if (range->size < AHEAD_MIN || !a->depth)
		return;
	pthread_mutex_lock(&a->lock);
	b = begin(a, range);
	pthread_mutex_unlock(&a->lock);
	if (!b)
		return;
	/*
	 * No other thread touches a block while it is FILLING. A failure is dropped; a real read repeats and reports
	 * it.
	 */
	rc = reader_read(a->reader, &b->range, &b->reply);
	pthread_mutex_lock(&a->lock);
	b->state = rc ? EMPTY : READY;
	pthread_cond_broadcast(&a->filled);
	pthread_mutex_unlock(&a->lock);
}

void ahead_release(struct ahead *a, const struct layout *layout, uint64_t from, uint64_t end)
{
	const struct extent *e = layout_find(layout, from);

	for (; e < layout->extents + layout->count && ahead_end_of(e) <= end; e++) {
		const struct needs needs = extent_needs(e, 0, e->length);

		pager_release(a->reader->pager, &needs);
	}
}

bool ahead_trim(struct ahead *a)
{
	bool left = false;

	pthread_mutex_lock(&a->lock);
	for (struct ahead_stream *s = a->streams; s < a->streams + STREAMS; s++)
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
	for (struct ahead_stream *s = a->streams; s < a->streams + STREAMS; s++)
		drop_all(a, s);
	pthread_cond_destroy(&a->filled);
	pthread_mutex_destroy(&a->lock);
	free(a);
}
