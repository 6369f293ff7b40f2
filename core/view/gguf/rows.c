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
	uint32_t weights, bytes;             /* of a block */
	uint32_t tile_rows, tile_columns;    /* at most */
	uint32_t tile_runs, tile_row_blocks; /* that a row of a tile may have */
};

/* A tile while it is made. */
struct block_tile {
	const struct block_rows *rows;
	uint32_t row0, nrows, column0, columns;
	uint16_t *level; /* [nrows][columns] */
	uint16_t *scale; /* [tile_runs][nrows] */
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

/* Zeros and scales of all rows, run by run. */
static void load_runs(struct block_tile *t)
{
	const struct encoded *e = t->rows->make.e;
	const uint32_t run = t->rows->make.run, first = t->column0 / run, last = (t->column0 + t->columns - 1) / run;

	for (uint32_t i = first; i <= last; i++) {
		const struct code_rect at = {t->row0, t->nrows, i == first ? t->column0 : i * run, 1};
		const size_t skip = (size_t)(i - first) * t->nrows;
		const struct codes out = {.zero = t->zero ? t->zero + skip : NULL, .half = t->scale + skip};

		e->encoding->codes(e, &at, &out);
	}
}

static void pack_row(const struct block_tile *t, uint32_t n, unsigned char *dst)
{
	const struct block_rows *rows = t->rows;
	const uint32_t run = rows->make.run, blocks = t->columns / rows->weights, first = t->column0 / run;
	const struct gguf_row row = {t->level + (size_t)n * t->columns, t->block_scale, t->block_zero};

	for (uint32_t b = 0; b < blocks; b++) {
		const uint32_t i = (t->column0 + b * rows->weights) / run - first;

		t->block_scale[b] = t->scale[i * t->nrows + n];
		if (t->zero)
			t->block_zero[b] = t->zero[i * t->nrows + n];
	}
	rows->pack(dst, &row, blocks);
}

static void run_tile(struct block_job *job)
{
	struct block_tile *t = &job->tile;
	const struct encoded *e = t->rows->make.e;
	const uint64_t column = t->column0 / t->rows->weights * t->rows->bytes - job->r->from;
	const struct kernel_rect r = {t->row0, t->nrows, t->column0, t->columns};

	e->encoding->units(e, t->rows->make.kernels, t->rows->make.units, t->level, &r);
	load_runs(t);
	for (uint32_t n = 0; n < t->nrows; n++)
		pack_row(t, n, job->dst + (t->row0 + n - job->r->row0) * job->r->bytes + column);
}

static void run_blocks(void *ctx)
{
	struct block_job *job = ctx;
	const struct block_rows *rows = job->rows;
	const uint64_t end = job->r->row0 + job->r->nrows;
	const uint64_t from = job->r->from / rows->bytes * rows->weights;
	const uint64_t to = from + job->r->bytes / rows->bytes * rows->weights;
	const struct encoded *e = rows->make.e;
	const struct kernel_rect all = {
	    (uint32_t)job->r->row0, (uint32_t)job->r->nrows, (uint32_t)from, (uint32_t)(to - from)};

	if (e->encoding->blocks && e->encoding->blocks(e, rows->make.kernels, rows->make.type, job->dst, &all))
		return;
	for (uint64_t n = job->r->row0; n < end; n += job->tile.nrows)
		for (uint64_t k = from; k < to; k += job->tile.columns) {
			job->tile.row0 = (uint32_t)n;
			job->tile.nrows = end - n < rows->tile_rows ? (uint32_t)(end - n) : rows->tile_rows;
			job->tile.column0 = (uint32_t)k;
			job->tile.columns = to - k < rows->tile_columns ? (uint32_t)(to - k) : rows->tile_columns;
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

/* The dense rows read the same bytes. */
static void blocks_need(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct generator *dense = ((const struct block_rows *)g)->make.e->dense[DTYPE_F16];

	if (dense && dense->ops->needs)
		dense->ops->needs(dense, &(struct rect){r->row0, r->nrows, 0, dense->row_bytes}, out);
}

static uint32_t common_multiple(uint32_t a, uint32_t b)
{
	uint32_t x = a, y = b;

	while (y) {
		const uint32_t rest = x % y;

		x = y;
		y = rest;
	}
	return a / x * b;
}

static void settle_tiles(struct block_rows *rows, uint32_t columns)
{
	const uint32_t step = common_multiple(rows->make.step, rows->weights);

	rows->tile_columns = step >= TILE_COLUMNS ? step : TILE_COLUMNS / step * step;
	rows->tile_columns = rows->tile_columns < columns ? rows->tile_columns : columns;
	rows->tile_rows = TILE_ROWS * TILE_COLUMNS / rows->tile_columns;
	rows->tile_rows = rows->tile_rows < 1 ? 1 : rows->tile_rows < TILE_ROWS ? rows->tile_rows : TILE_ROWS;
	rows->tile_runs = rows->tile_columns / rows->make.run + 2;
	rows->tile_row_blocks = rows->tile_columns / rows->weights;
}

int gguf_block_rows(const struct gguf_block_make *make, struct arena *arena, const struct generator **g)
{
	static const struct generator_ops ops = {fill_blocks, blocks_need};
	const struct gguf_layout *layout = gguf_layout(make->type);
	struct encoded *e = make->e;
	const uint64_t row_bytes = e->shape[1] / layout->weights * layout->bytes;
	const struct generator **dense = &e->dense[DTYPE_F16];
	struct block_rows *rows = arena_alloc(arena, 1, sizeof(*rows));
	int rc = rows ? 0 : -ENOMEM;

	if (rc == 0 && !*dense)
		rc = e->encoding->rows(e, make->kernels, DTYPE_F16, arena, dense);
	if (rc)
		return rc;
	*rows = (struct block_rows){.make = *make,
	    .pack = make->kernels->gguf.pack[make->type],
	    .weights = layout->weights,
	    .bytes = layout->bytes};
	settle_tiles(rows, (uint32_t)e->shape[1]);
	rows->g = (struct generator){
	    .ops = &ops,
	    .rows = e->shape[0],
	    .row_bytes = row_bytes,
	    .tile_rows = generator_tile_rows(row_bytes),
	    .step = generator_step((uint64_t)common_multiple(make->step, layout->weights) / layout->weights *
				   layout->bytes),
	    .run_rows = (*dense)->run_rows,
	    .inputs = (*dense)->inputs,
	};
	*g = &rows->g;
	return 0;
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
