/* SPDX-License-Identifier: MIT */
#include "view/gguf/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

/* ---- blocks ---- */

/*
 * Weights are decoded tile by tile, so that they stay in the second-level cache. A cache line of AWQ's codes has as
 * many rows as a tile: with fewer, the next tile would fetch it again.
 */
#define TILE_ROWS 128
#define TILE_COLUMNS 256

struct block_rows {
	struct generator g; /* first */
	struct gguf_block_make make;
	gguf_fn *pack;
	struct coded_block block;
	uint32_t tile_rows, tile_columns;    /* at most */
	uint32_t tile_runs, tile_row_blocks; /* that a row of a tile may have */
};

/* A tile while it is made. */
struct block_tile {
	const struct block_rows *rows;
	struct kernel_rect r;
	uint16_t *level; /* [rows][columns] */
	uint16_t *scale; /* [tile_runs][rows] */
	uint8_t *zero;   /* likewise, for Q2_0; or NULL */
	/* Of one row, by block. */
	uint16_t *block_scale;
	uint8_t *block_zero;
};

struct block_job {
	const struct block_rows *rows;
	unsigned char *dst;
	const struct rect *r;
	struct block_tile tile;
};

static void pack_row(const struct block_tile *t, uint32_t n, unsigned char *dst)
{
	const struct block_rows *rows = t->rows;
	const uint32_t run = rows->make.of.run, blocks = t->r.columns / rows->block.weights, first = t->r.column0 / run;
	const struct gguf_row row = {t->level + (size_t)n * t->r.columns, t->block_scale, t->block_zero};

	for (uint32_t b = 0; b < blocks; b++) {
		const uint32_t i = (t->r.column0 + b * rows->block.weights) / run - first;

		t->block_scale[b] = t->scale[i * t->r.rows + n];
		if (t->zero)
			t->block_zero[b] = t->zero[i * t->r.rows + n];
	}
	rows->pack(dst, &row, blocks);
}

static void run_tile(struct block_job *job)
{
	struct block_tile *t = &job->tile;
	const struct coded *c = &t->rows->make.of;
	const struct coded_block block = t->rows->block;
	const uint64_t column = t->r.column0 / block.weights * block.bytes - job->r->from;

	c->e->encoding->units(c->e, c->kernels, c->units, t->level, &t->r);
	coded_load_runs(c, &t->r, t->zero, t->scale);
	for (uint32_t n = 0; n < t->r.rows; n++)
		pack_row(t, n, job->dst + (t->r.row0 + n - job->r->row0) * job->r->bytes + column);
}

static void run_blocks(void *ctx)
{
	struct block_job *job = ctx;
	const struct block_rows *rows = job->rows;
	const struct coded *c = &rows->make.of;
	const struct kernel_rect all = coded_weights(job->r, rows->block);
	const uint32_t row_end = all.row0 + all.rows, end = all.column0 + all.columns;
	struct kernel_rect *r = &job->tile.r;

	if (c->e->encoding->blocks && c->e->encoding->blocks(c->e, c->kernels, rows->make.type, job->dst, &all))
		return;
	for (uint32_t n = all.row0; n < row_end; n += r->rows)
		for (uint32_t k = all.column0; k < end; k += r->columns) {
			r->row0 = n;
			r->rows = row_end - n < rows->tile_rows ? row_end - n : rows->tile_rows;
			r->column0 = k;
			r->columns = end - k < rows->tile_columns ? end - k : rows->tile_columns;
			run_tile(job);
		}
}

/* Room for a tile, in one piece. */
static void *tile_room(const struct block_rows *rows, struct block_tile *t)
{
	const size_t cells = (size_t)rows->tile_rows * rows->tile_columns,
		     runs = (size_t)rows->tile_runs * rows->tile_rows;
	unsigned char *room =
	    aligned_alloc(64, (cells * 2 + runs * 3 + (size_t)rows->tile_row_blocks * 3 + 63) / 64 * 64);

	if (!room)
		return NULL;
	t->rows = rows;
	t->level = (uint16_t *)room;
	t->scale = t->level + cells;
	t->block_scale = t->scale + runs;
	t->block_zero = (uint8_t *)(t->block_scale + rows->tile_row_blocks);
	t->zero = rows->make.type == GGUF_Q2_0 ? t->block_zero + rows->tile_row_blocks : NULL;
	return room;
}

static int fill_blocks(const struct generator *g, void *dst, const struct rect *r)
{
	struct block_job job = {(const struct block_rows *)g, dst, r, {0}};
	void *room = tile_room(job.rows, &job.tile);
	int rc = room ? inputs_guard(&g->inputs, run_blocks, &job) : -ENOMEM;

	free(room);
	return rc;
}

static void blocks_need(const struct generator *g, const struct rect *r, struct spans *out)
{
	coded_needs(&((const struct block_rows *)g)->make.of, r, out);
}

static void settle_tiles(struct block_rows *rows)
{
	const struct coded *c = &rows->make.of;

	rows->tile_columns = coded_tile_columns(c, rows->block, TILE_COLUMNS);
	rows->tile_rows = TILE_ROWS * TILE_COLUMNS / rows->tile_columns;
	rows->tile_rows = rows->tile_rows < 1 ? 1 : rows->tile_rows < TILE_ROWS ? rows->tile_rows : TILE_ROWS;
	rows->tile_runs = coded_runs_max(c, rows->tile_columns);
	rows->tile_row_blocks = rows->tile_columns / rows->block.weights;
}

int gguf_block_rows(const struct gguf_block_make *make, struct arena *arena, const struct generator **g)
{
	static const struct generator_ops ops = {fill_blocks, blocks_need};
	const struct gguf_layout *layout = gguf_layout(make->type);
	struct block_rows *rows = arena_alloc(arena, 1, sizeof(*rows));
	int rc;

	if (!rows)
		return -ENOMEM;
	*rows = (struct block_rows){
	    .make = *make, .pack = make->of.kernels->gguf.pack[make->type], .block = {layout->weights, layout->bytes}};
	settle_tiles(rows);
	rc = coded_rows(&make->of, rows->block, arena, &rows->g);
	rows->g.ops = &ops;
	*g = &rows->g;
	return rc;
}

/* ---- the order of rope ---- */

struct rope_rows {
	struct generator g; /* first */
	const struct generator *of;
	uint32_t head;
};

/* Rows [from, to) of one head that go to even positions (half 0) or odd ones (half 1). */
static int fill_half(const struct rope_rows *rows, unsigned char *dst, const struct rect *r, uint64_t half)
{
	const uint64_t head0 = r->row0 / rows->head * rows->head, from = r->row0 - head0, to = from + r->nrows;
	const uint64_t first = (from + 1 - half) / 2, end = (to + 1 - half) / 2;
	struct rect part = {head0 + half * rows->head / 2 + first, end - first, r->from, r->bytes};
	unsigned char *scratch;
	int rc;

	if (first == end)
		return 0;
	scratch = malloc(part.nrows * part.bytes);
	if (!scratch)
		return -ENOMEM;
	rc = rows->of->ops->fill(rows->of, scratch, &part);
	for (uint64_t i = first; rc == 0 && i < end; i++)
		memcpy(dst + (2 * i + half - from) * r->bytes, scratch + (i - first) * r->bytes, r->bytes);
	free(scratch);
	return rc;
}

/* Whole heads: their rows are computed together, for kernels like many neighbouring rows. */
static int fill_heads(const struct rope_rows *rows, unsigned char *dst, const struct rect *r)
{
	unsigned char *scratch = malloc(r->nrows * r->bytes);
	int rc = scratch ? rows->of->ops->fill(rows->of, scratch, r) : -ENOMEM;

	for (uint64_t i = 0; rc == 0 && i < r->nrows; i++) {
		const uint64_t at = i % rows->head, half = at >= rows->head / 2;
		const uint64_t to = i - at + 2 * (at - half * (rows->head / 2)) + half;

		memcpy(dst + to * r->bytes, scratch + i * r->bytes, r->bytes);
	}
	free(scratch);
	return rc;
}

static int fill_rope(const struct generator *g, void *dst, const struct rect *r)
{
	const struct rope_rows *rows = (const struct rope_rows *)g;
	unsigned char *at = dst;
	int rc = 0;

	for (uint64_t row = r->row0, end = row + r->nrows; rc == 0 && row < end;) {
		const uint64_t left = rows->head - row % rows->head, heads = (end - row) / rows->head * rows->head;
		struct rect part = {row, end - row < left ? end - row : left, r->from, r->bytes};

		if (left == rows->head && heads) {
			part.nrows = heads;
			rc = fill_heads(rows, at, &part);
		} else {
			rc = fill_half(rows, at, &part, 0);
			if (rc == 0)
				rc = fill_half(rows, at, &part, 1);
		}
		at += part.nrows * r->bytes;
		row += part.nrows;
	}
	return rc;
}

static void rope_needs(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct rope_rows *rows = (const struct rope_rows *)g;
	const uint64_t from = r->row0 / rows->head * rows->head;
	const uint64_t to = (r->row0 + r->nrows + rows->head - 1) / rows->head * rows->head;

	if (rows->of->ops->needs)
		rows->of->ops->needs(rows->of, &(struct rect){from, to - from, r->from, r->bytes}, out);
}

int gguf_rope_rows(const struct generator *of, uint32_t head, struct arena *arena, const struct generator **g)
{
	static const struct generator_ops ops = {fill_rope, rope_needs};
	struct rope_rows *rows = arena_alloc(arena, 1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	*rows = (struct rope_rows){.g = *of, .of = of, .head = head};
	rows->g.ops = &ops;
	rows->g.tile_rows = 2 * of->tile_rows;
	rows->g.run_rows = 0;
	*g = &rows->g;
	return 0;
}

/* ---- plus one ---- */

struct plus_one_rows {
	struct generator g; /* first */
	const struct generator *of;
};

static int fill_plus_one(const struct generator *g, void *dst, const struct rect *r)
{
	const struct generator *of = ((const struct plus_one_rows *)g)->of;
	const uint64_t count = r->nrows * r->bytes / 4;
	unsigned char *at = dst;
	int rc = of->ops->fill(of, dst, r);

	for (uint64_t i = 0; rc == 0 && i < count; i++, at += 4) {
		uint32_t bits;

		memcpy(&bits, at, 4);
		bits = float_canonical(bits_of_float(float_of_bits(bits) + 1));
		memcpy(at, &bits, 4);
	}
	return rc;
}

static void plus_one_needs(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct generator *of = ((const struct plus_one_rows *)g)->of;

	if (of->ops->needs)
		of->ops->needs(of, r, out);
}

int gguf_plus_one_rows(const struct generator *of, struct arena *arena, const struct generator **g)
{
	static const struct generator_ops ops = {fill_plus_one, plus_one_needs};
	struct plus_one_rows *rows = arena_alloc(arena, 1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	*rows = (struct plus_one_rows){*of, of};
	rows->g.ops = &ops;
	*g = &rows->g;
	return 0;
}
