/* SPDX-License-Identifier: MIT */
#include "view/gguf/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"

/* ---- blocks ---- */

/* Weights that are taken apart at a time: their codes, zeros and scales stay in the first cache. */
#define CELLS 2048

struct block_rows {
	struct generator g; /* first */
	const struct encoded *e;
	gguf_fn *pack;
	uint32_t weights, bytes; /* of a block */
};

struct block_job {
	const struct block_rows *rows;
	unsigned char *dst;
	const struct rect *r;
};

/* Columns [column0, column0 + columns) of one row. */
static void pack_cells(const struct block_job *job, struct code_rect at, unsigned char *dst)
{
	uint8_t code[CELLS], zero[CELLS];
	float scale[CELLS];
	const struct codes codes = {code, zero, scale};
	const struct gguf_weights weights = {code, zero, scale};

	job->rows->e->encoding->codes(job->rows->e, &at, &codes);
	job->rows->pack(dst, &weights, at.columns / job->rows->weights);
}

static void run_blocks(void *ctx)
{
	const struct block_job *job = ctx;
	const struct block_rows *rows = job->rows;
	const uint64_t from = job->r->from / rows->bytes * rows->weights;
	const uint64_t to = from + job->r->bytes / rows->bytes * rows->weights;

	for (uint64_t n = 0; n < job->r->nrows; n++)
		for (uint64_t k = from; k < to; k += CELLS) {
			const struct code_rect at = {job->r->row0 + n, 1, k, to - k < CELLS ? to - k : CELLS};

			pack_cells(job, at, job->dst + n * job->r->bytes + (k - from) / rows->weights * rows->bytes);
		}
}

static int fill_blocks(const struct generator *g, void *dst, const struct rect *r)
{
	struct block_job job = {(const struct block_rows *)g, dst, r};

	return inputs_guard(&g->inputs, run_blocks, &job);
}

/* The dense rows read the same bytes. */
static void blocks_need(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct generator *dense = ((const struct block_rows *)g)->e->dense[DTYPE_F16];

	if (dense && dense->ops->needs)
		dense->ops->needs(dense, &(struct rect){r->row0, r->nrows, 0, dense->row_bytes}, out);
}

int gguf_block_rows(struct encoded *e, const struct kernels *k, enum gguf_block type, struct arena *arena,
    const struct generator **g)
{
	static const struct generator_ops ops = {fill_blocks, blocks_need};
	const struct gguf_layout *layout = gguf_layout(type);
	const uint64_t row_bytes = e->shape[1] / layout->weights * layout->bytes;
	struct block_rows *rows = arena_alloc(arena, 1, sizeof(*rows));
	const struct generator **dense = &e->dense[DTYPE_F16];
	int rc = rows ? 0 : -ENOMEM;

	if (rc == 0 && !*dense)
		rc = e->encoding->rows(e, k, DTYPE_F16, arena, dense);
	if (rc)
		return rc;
	*rows =
	    (struct block_rows){.e = e, .pack = k->gguf.pack[type], .weights = layout->weights, .bytes = layout->bytes};
	rows->g = (struct generator){
	    .ops = &ops,
	    .rows = e->shape[0],
	    .row_bytes = row_bytes,
	    .tile_rows = generator_tile_rows(row_bytes),
	    .step = 8 * layout->bytes,
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

/* Of one head the rows [from, to) that are in even places (half 0) or odd ones (half 1). */
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

static int fill_rope(const struct generator *g, void *dst, const struct rect *r)
{
	const struct rope_rows *rows = (const struct rope_rows *)g;
	unsigned char *at = dst;
	int rc = 0;

	for (uint64_t row = r->row0, end = row + r->nrows; rc == 0 && row < end;) {
		const uint64_t left = rows->head - row % rows->head;
		const struct rect part = {row, end - row < left ? end - row : left, r->from, r->bytes};

		rc = fill_half(rows, at, &part, 0);
		if (rc == 0)
			rc = fill_half(rows, at, &part, 1);
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

/* ---- elements ---- */

struct element_rows {
	struct generator g; /* first */
	const struct generator *of;
};

/* The row is that of a bias: all of it is computed for any part. */
static int fill_elements(const struct generator *g, void *dst, const struct rect *r)
{
	const struct generator *of = ((const struct element_rows *)g)->of;
	unsigned char *row = malloc(of->row_bytes);
	int rc = row ? generator_fill(of, row, 0, 1) : -ENOMEM;

	if (rc == 0)
		memcpy(dst, row + r->row0 * g->row_bytes, r->nrows * g->row_bytes);
	free(row);
	return rc;
}

static void elements_need(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct generator *of = ((const struct element_rows *)g)->of;

	(void)r;
	if (of->ops->needs)
		of->ops->needs(of, &(struct rect){0, 1, 0, of->row_bytes}, out);
}

int gguf_element_rows(const struct generator *of, uint32_t element, struct arena *arena, const struct generator **g)
{
	static const struct generator_ops ops = {fill_elements, elements_need};
	struct element_rows *rows = arena_alloc(arena, 1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	rows->of = of;
	rows->g = (struct generator){
	    .ops = &ops,
	    .rows = of->row_bytes / element,
	    .row_bytes = element,
	    .tile_rows = 65536 / element,
	    .inputs = of->inputs,
	};
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
