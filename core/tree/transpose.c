/* SPDX-License-Identifier: MIT */
#include "tree/transpose.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Size of the pieces transposed at a time: source and target lines stay in the L1 cache. */
#define PIECE_BYTES ((size_t)16 << 10)
/* Tiles are larger than usual, because even a few rows need a piece of every row of the other generators. */
#define TILE_BYTES ((size_t)1 << 20)
#define TILE_ROWS 64
/* Of rows that are longer than any model's, fewer than a run make a tile: computing some twice takes less memory. */
#define TILE_BYTES_MAX ((size_t)16 << 20)

struct transposed_rows {
	struct generator g;
	struct transpose transpose;
	atomic_bool resident;
};

/* A piece of one of the generators, transposed into place. */
struct piece {
	unsigned char *scratch; /* [rows][columns] elements */
	uint64_t row0, rows;    /* of the other generator */
	uint64_t skip, columns; /* of each row: unused elements at its start, and all elements */
	unsigned char *dst;     /* where element (row0, skip) goes */
	size_t dst_row;         /* bytes between rows of the result */
	size_t apart;           /* distance between elements of a row */
};

static inline void transpose_elements(const struct piece *p, uint64_t rows, size_t element)
{
	for (uint64_t k = 0; k < rows; k++) {
		const unsigned char *from = p->scratch + (p->skip + k) * element;
		unsigned char *to = p->dst + k * p->dst_row;

		for (uint64_t n = 0; n < p->rows; n++)
			memcpy(to + n * p->apart * element, from + n * p->columns * element, element);
	}
}

/* The size is constant in each call, so that an element is copied by one instruction. */
static void transpose_piece(const struct piece *p, uint64_t rows, size_t element)
{
	if (element == 2)
		transpose_elements(p, rows, 2);
	else
		transpose_elements(p, rows, 4);
}

/* Transposes elements [r->row0, r->row0 + r->nrows) of all rows of one generator. */
static int transpose_one(const struct transposed_rows *rows, size_t i, const struct rect *r, struct piece p)
{
	const struct transpose *t = &rows->transpose;
	const struct generator *of = t->of[i];
	const uint64_t band = PIECE_BYTES / (p.columns * t->element);
	const uint64_t most = band < 1 ? 1 : band < of->rows ? band : of->rows;
	struct rect part = {.from = (r->row0 - p.skip) * t->element, .bytes = p.columns * t->element};
	unsigned char *const first = p.dst;
	int rc = 0;

	p.scratch = malloc(most * part.bytes);
	if (!p.scratch)
		return -ENOMEM;
	for (p.row0 = 0; rc == 0 && p.row0 < of->rows; p.row0 += p.rows) {
		p.rows = of->rows - p.row0 < most ? of->rows - p.row0 : most;
		p.dst = first + p.row0 * p.apart * t->element;
		part.row0 = p.row0;
		part.nrows = p.rows;
		rc = of->ops->fill(of, p.scratch, &part);
		if (rc == 0)
			transpose_piece(&p, r->nrows, t->element);
	}
	free(p.scratch);
	return rc;
}

/* Rows are never cut. */
static int fill_transposed(const struct generator *g, void *dst, const struct rect *r)
{
	const struct transposed_rows *rows = (const struct transposed_rows *)g;
	const struct transpose *t = &rows->transpose;
	const uint64_t from = r->row0 / g->run_rows * g->run_rows;
	const uint64_t runs = (r->row0 + r->nrows + g->run_rows - 1) / g->run_rows * g->run_rows;
	const uint64_t to = runs < g->rows ? runs : g->rows;
	struct piece p = {.skip = r->row0 - from, .columns = to - from, .dst_row = g->row_bytes};
	size_t begin = 0;
	int rc = 0;

	p.apart = t->interleaved ? t->count : 1;
	for (size_t i = 0; rc == 0 && i < t->count; i++) {
		p.dst = (unsigned char *)dst + begin * t->element;
		begin += t->interleaved ? 1 : t->of[i]->rows;
		rc = transpose_one(rows, i, r, p);
	}
	return rc;
}

/* Any row takes an element from every row of the other generators. */
static void needs_of_transposed(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct transpose *t = &((const struct transposed_rows *)g)->transpose;

	(void)r;
	for (size_t i = 0; i < t->count; i++) {
		const struct generator *of = t->of[i];

		if (of->ops->needs)
			of->ops->needs(of, &(struct rect){0, of->rows, 0, of->row_bytes}, out);
	}
}

/* Returns the number of rows that can be computed together without waste: whole steps of all generators. */
static uint32_t run_of(const struct transpose *t)
{
	uint32_t step = t->element;

	for (size_t i = 0; i < t->count; i++) {
		const uint32_t other = t->of[i]->step;
		const uint32_t longer = other > step ? other : step, shorter = other > step ? step : other;

		if (!other || longer % shorter || other % t->element)
			return (uint32_t)(t->of[0]->row_bytes / t->element);
		step = longer;
	}
	return step / t->element;
}

static uint32_t tile_of(const struct transposed_rows *rows)
{
	uint32_t tile = rows->g.run_rows;

	while (tile > 1 && tile * rows->g.row_bytes > TILE_BYTES_MAX)
		tile = (tile + 1) / 2;
	while (tile < TILE_ROWS && 2 * tile * rows->g.row_bytes <= TILE_BYTES)
		tile *= 2;
	return tile;
}

static int gather_files(struct arena *arena, const struct transpose *t, struct inputs *out)
{
	struct source_file **files;
	size_t count = 0;

	for (size_t i = 0; i < t->count; i++)
		count += t->of[i]->inputs.count;
	files = arena_alloc(arena, count, sizeof(*files));
	if (!files)
		return -ENOMEM;
	out->files = files;
	for (size_t i = 0; i < t->count; i++)
		for (size_t k = 0; k < t->of[i]->inputs.count; k++) {
			struct source_file *f = t->of[i]->inputs.files[k];
			size_t at = 0;

			while (at < out->count && files[at] != f)
				at++;
			files[at] = f;
			out->count += at == out->count;
		}
	return 0;
}

int transpose_make(struct arena *arena, const struct transpose *transpose, const struct generator **g)
{
	static const struct generator_ops ops = {fill_transposed, needs_of_transposed};
	struct transposed_rows *rows = arena_alloc(arena, 1, sizeof(*rows));
	uint64_t columns = 0;

	if (!rows)
		return -ENOMEM;
	for (size_t i = 0; i < transpose->count; i++)
		columns += transpose->of[i]->rows;
	rows->transpose = *transpose;
	rows->g = (struct generator){
	    .ops = &ops,
	    .rows = transpose->of[0]->row_bytes / transpose->element,
	    .row_bytes = columns * transpose->element,
	    .run_rows = run_of(transpose),
	    .inputs = {.resident = &rows->resident},
	};
	rows->g.tile_rows = tile_of(rows);
	*g = &rows->g;
	return gather_files(arena, transpose, &rows->g.inputs);
}
