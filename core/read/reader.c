/* SPDX-License-Identifier: MIT */

/*
 * A read is a loop over extents. The reply points to bytes that are in memory already, and to a reply buffer for
 * computed ones.
 */

#include "read/reader.h"

#include <errno.h>
#include <string.h>

#include "tree/layout.h"

/* Up to this many partial rows are decoded in part; beyond, whole rows are faster. */
#define CUT_MAX 2
/* Bytes a read may decode and discard: a row of common size, a few microseconds. Beyond it, tiles are cached. */
#define WASTE_MAX ((size_t)16 << 10)
/* Pieces of rows at least this long get aligned addresses. */
#define ALIGN_MIN ((size_t)64 << 10)
/* Reads this large wait for the pager. */
#define FETCH_MIN ((size_t)64 << 10)
/* Pieces of memory shorter than this are copied, not referenced. */
#define COPY_MAX 4096
/*
 * The remaining pieces of a reply are kept for decoded rows, of which there are at most READ_MAX / ALIGN_MIN, and for
 * what is between them.
 */
#define POINT_MAX (GPTQFS_IOV_MAX - 2 * (int)(GPTQFS_READ_MAX / ALIGN_MIN) - 2 - 2 * CUT_MAX)

/* A reply under construction. */
struct reply {
	struct reader *reader;
	struct gptqfs_reply *out;
	struct buffer *buffer;
	size_t used; /* bytes of it */
};

static void point_at(struct reply *r, const void *bytes, size_t len)
{
	struct gptqfs_reply *out = r->out;
	struct iovec *last = out->count ? &out->iov[out->count - 1] : NULL;

	out->bytes += len;
	if (last && (const char *)last->iov_base + last->iov_len == bytes)
		last->iov_len += len;
	else
		out->iov[out->count++] = (struct iovec){(void *)bytes, len};
}

/* Returns room for len bytes in the reply buffer, or NULL. Every read fits: see BUFFER_BYTES. */
static unsigned char *reserve(struct reply *r, size_t len)
{
	unsigned char *at;

	if (BUFFER_BYTES - r->used < len)
		return NULL;
	at = r->buffer->data + r->used;
	r->used += len;
	return at;
}

static int read_bytes(struct reply *r, const char *bytes, size_t len)
{
	unsigned char *at;

	if (len > COPY_MAX && r->out->count < POINT_MAX) {
		point_at(r, bytes, len);
		return 0;
	}
	at = reserve(r, len);
	if (!at)
		return -ENOMEM;
	memcpy(at, bytes, len);
	point_at(r, at, len);
	return 0;
}

static int read_source(struct reply *r, const struct extent *e, uint64_t from, size_t len)
{
	unsigned char *at = reserve(r, len);
	int rc;

	if (len >= FETCH_MIN) {
		const struct needs needs = extent_needs(e, from, len);

		pager_wait(r->reader->pager, &needs);
	}
	rc = at ? source_file_read(e->from.file, at, len, e->position + from) : -ENOMEM;
	if (rc == 0)
		point_at(r, at, len);
	return rc;
}

/* If rows touch all of their source, the tensor's first reader has all of it fetched. Large reads wait for it. */
static void fetch_first(const struct reader *reader, const struct extent *e, uint64_t from, size_t len)
{
	const struct needs needs = extent_needs(e, from, len);

	if (needs.resident)
		pager_fetch(reader->pager, &needs);
	if (len >= FETCH_MIN && needs.spans.count)
		pager_wait(reader->pager, &needs);
}

/*
 * Decodes the rows around [from, from + len) into the buffer and discards the unwanted parts of the first and the last.
 * Rows of long pieces get addresses equal, modulo 64, to their offsets in the file: kernels write whole cache lines
 * faster.
 */
static int read_rows(struct reply *r, const struct extent *e, uint64_t from, size_t len)
{
	const struct generator *g = e->from.generator;
	const uint64_t row0 = from / g->row_bytes, row1 = (from + len - 1) / g->row_bytes + 1;
	const uint64_t before = from - row0 * g->row_bytes, place = e->offset + row0 * g->row_bytes;
	const size_t slack = len >= ALIGN_MIN ? 64 : 0;
	unsigned char *at = reserve(r, slack + (row1 - row0) * g->row_bytes);
	int rc;

	if (!at)
		return -ENOMEM;
	if (slack)
		at += (place - (uintptr_t)at) & 63;
	rc = generator_fill(g, at, row0, row1 - row0);
	if (rc == 0)
		point_at(r, at + before, len);
	atomic_fetch_add_explicit(&r->reader->computed, (row1 - row0) * g->row_bytes, memory_order_relaxed);
	return rc;
}

/* Decodes a part of one row, extended to where rows can be cut. */
static int read_part(struct reply *r, const struct generator *g, uint64_t from, size_t len)
{
	const uint64_t begin = from % g->row_bytes, before = begin % g->step,
		       end = (begin + len + g->step - 1) / g->step;
	struct rect part = {from / g->row_bytes, 1, begin - before, 0};
	unsigned char *at;
	int rc;

	part.bytes = (end * g->step < g->row_bytes ? end * g->step : g->row_bytes) - part.from;
	at = reserve(r, part.bytes);
	rc = at ? g->ops->fill(g, at, &part) : -ENOMEM;
	if (rc == 0)
		point_at(r, at + before, len);
	atomic_fetch_add_explicit(&r->reader->computed, part.bytes, memory_order_relaxed);
	return rc;
}

static int read_cut_rows(struct reply *r, const struct extent *e, uint64_t from, size_t len)
{
	const struct generator *g = e->from.generator;
	int rc = 0;

	while (rc == 0 && len) {
		const uint64_t left = g->row_bytes - from % g->row_bytes;
		const size_t piece = left < len ? (size_t)left : len;

		rc = piece == g->row_bytes ? read_rows(r, e, from, piece) : read_part(r, g, from, piece);
		from += piece;
		len -= piece;
	}
	return rc;
}

struct tile {
	struct reader *reader;
	const struct generator *g;
	uint64_t row0, nrows;
};

static int fill_tile(void *ctx, void *dst)
{
	const struct tile *t = ctx;

	atomic_fetch_add_explicit(&t->reader->computed, t->nrows * t->g->row_bytes, memory_order_relaxed);
	return generator_fill(t->g, dst, t->row0, t->nrows);
}

/* Adds a part of one tile to the reply: by reference, with the tile pinned, or copied. */
static int read_tile(struct reply *r, const struct generator *g, uint64_t from, size_t len)
{
	const uint64_t index = from / g->row_bytes / g->tile_rows, first = index * g->tile_rows;
	struct tile tile = {r->reader, g, first, g->rows - first < g->tile_rows ? g->rows - first : g->tile_rows};
	const struct cache_request request = {{g, index}, tile.nrows * g->row_bytes, fill_tile, &tile};
	struct cache_entry *entry;
	const unsigned char *bytes;
	unsigned char *at;
	int rc = cache_get(r->reader->cache, &request, &entry);

	if (rc)
		return rc;
	bytes = entry->data + (from - first * g->row_bytes);
	if (len > COPY_MAX && r->out->count < POINT_MAX) {
		r->buffer->pinned[r->buffer->pins++] = entry;
		point_at(r, bytes, len);
		return 0;
	}
	at = reserve(r, len);
	if (at) {
		memcpy(at, bytes, len);
		point_at(r, at, len);
	}
	cache_unpin(r->reader->cache, entry);
	return at ? 0 : -ENOMEM;
}

/* Returns the rows that are computed for a piece: whole runs. */
static uint64_t computed_rows(const struct generator *g, uint64_t from, size_t len)
{
	const uint64_t run = g->run_rows ? g->run_rows : 1;
	const uint64_t first = from / g->row_bytes / run * run;
	const uint64_t end = ((from + len - 1) / g->row_bytes / run + 1) * run;

	return (end < g->rows ? end : g->rows) - first;
}

/* Rows are cut only at the ends of a read, so what is decoded and discarded is bounded: see BUFFER_BYTES. */
static int read_generated(struct reply *r, const struct extent *e, uint64_t from, size_t len)
{
	const struct generator *g = e->from.generator;
	const uint64_t tile_bytes = g->tile_rows * g->row_bytes;
	const uint64_t rows = (from + len - 1) / g->row_bytes + 1 - from / g->row_bytes;
	const uint64_t waste = computed_rows(g, from, len) * g->row_bytes - len;
	int rc = 0;

	fetch_first(r->reader, e, from, len);
	if (g->step && waste && rows <= CUT_MAX)
		return read_cut_rows(r, e, from, len);
	if (waste <= WASTE_MAX || waste <= len / 2)
		return read_rows(r, e, from, len);
	while (rc == 0 && len) {
		uint64_t left = tile_bytes - from % tile_bytes;
		size_t piece = left < len ? (size_t)left : len;

		rc = read_tile(r, g, from, piece);
		from += piece;
		len -= piece;
	}
	return rc;
}

static int read_extents(struct reply *r, const struct layout *layout, uint64_t offset, size_t size)
{
	const struct extent *e = layout_find(layout, offset);
	int rc = 0;

	for (; rc == 0 && size; e++) {
		uint64_t from = offset - e->offset, left = e->length - from;
		size_t len = left < size ? (size_t)left : size;

		switch (e->kind) {
		case EXTENT_BYTES:
			rc = read_bytes(r, e->from.bytes + from, len);
			break;
		case EXTENT_SOURCE:
			rc = read_source(r, e, from, len);
			break;
		case EXTENT_GENERATED:
			rc = read_generated(r, e, from, len);
			break;
		}
		offset += len;
		size -= len;
	}
	return rc;
}

int reader_read(struct reader *reader, const struct range *range, struct gptqfs_reply *reply)
{
	struct reply r = {.reader = reader, .out = reply};
	int rc;

	reply->bytes = 0;
	reply->count = 0;
	reply->priv = NULL;
	if (!range->size)
		return 0;
	reply->priv = r.buffer = buffer_get(reader->buffers);
	if (!r.buffer)
		return -ENOMEM;
	r.buffer->layout = range->layout;
	r.buffer->offset = range->offset;
	r.buffer->pins = 0;
	rc = read_extents(&r, range->layout, range->offset, range->size);
	if (rc)
		reader_done(reader, reply);
	return rc;
}

struct range reader_done(struct reader *reader, struct gptqfs_reply *reply)
{
	struct buffer *buffer = reply->priv;
	struct range range;

	if (!buffer)
		return (struct range){0};
	range = (struct range){buffer->layout, buffer->offset, reply->bytes};
	while (buffer->pins)
		cache_unpin(reader->cache, buffer->pinned[--buffer->pins]);
	buffer_put(reader->buffers, buffer);
	reply->priv = NULL;
	return range;
}
