/* SPDX-License-Identifier: MIT */
#include "quant/matrix_rows.h"

#include <errno.h>

#include "tree/transpose.h"

struct matrix_rows {
	struct generator g; /* first */
	const struct encoded *e;
	const struct kernels *kernels;
	enum dtype out;
	uint32_t each; /* rows of a matrix */
};

/* Sets *p to what the first of the rows [row, end) that are left of a rectangle have of their matrix. */
static void part_of(const struct matrix_rows *m, const struct rect *r, uint64_t row, struct matrix_part *p)
{
	const uint32_t width = (uint32_t)dtype_bytes(m->out), row0 = (uint32_t)(row % m->each);
	const uint64_t left = r->row0 + r->nrows - row;
	const uint32_t count = left < m->each - row0 ? (uint32_t)left : m->each - row0;

	*p = (struct matrix_part){.e = m->e,
	    .kernels = m->kernels,
	    .out = m->out,
	    .matrix = row / m->each,
	    .rect = {row0, count, (uint32_t)(r->from / width), (uint32_t)(r->bytes / width)}};
}

struct matrix_job {
	const struct matrix_rows *m;
	const struct rect *r;
	unsigned char *dst;
};

static void run_matrix_job(void *ctx)
{
	const struct matrix_job *job = ctx;
	const struct rect *r = job->r;
	struct matrix_part p;

	for (uint64_t row = r->row0; row < r->row0 + r->nrows; row += p.rect.rows) {
		part_of(job->m, r, row, &p);
		job->m->e->encoding->matrix->fill(&p, job->dst + (row - r->row0) * r->bytes);
	}
}

static int fill_matrix(const struct generator *g, void *dst, const struct rect *r)
{
	struct matrix_job job = {(const struct matrix_rows *)g, r, dst};

	return inputs_guard(&g->inputs, run_matrix_job, &job);
}

static void matrix_needs(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct matrix_rows *m = (const struct matrix_rows *)g;
	struct matrix_part p;

	for (uint64_t row = r->row0; row < r->row0 + r->nrows; row += p.rect.rows) {
		part_of(m, r, row, &p);
		m->e->encoding->matrix->needs(&p, &g->inputs, out);
	}
}

static int transpose_matrix(struct arena *arena, enum dtype out, const struct generator **g)
{
	const struct transpose transpose = {.of = {*g}, .count = 1, .element = (uint32_t)dtype_bytes(out)};

	return transpose_make(arena, &transpose, g);
}

int matrix_rows(struct encoded *e, const struct kernels *k, enum dtype out, struct arena *arena,
    const struct generator **g)
{
	const struct matrix_ops *ops = e->encoding->matrix;
	static const struct generator_ops generator_ops = {fill_matrix, matrix_needs};
	const uint64_t *shape = e->shape + e->ndim - 2;
	const bool transpose = e->transposed && !ops->transposed;
	const uint64_t rows = shape[transpose], columns = shape[!transpose];
	const uint64_t width = dtype_bytes(out), row_bytes = columns * width;
	struct matrix_rows *m = arena_alloc(arena, 1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	*m = (struct matrix_rows){.e = e, .kernels = k, .out = out, .each = (uint32_t)rows};
	m->g = (struct generator){
	    .ops = &generator_ops,
	    .rows = rows,
	    .row_bytes = row_bytes,
	    .tile_rows = generator_tile_rows(row_bytes),
	    .step = ops->cut ? generator_step(ops->cut * width) : 0,
	    .inputs = {e->files, e->file_count, ops->scattered ? &e->resident : NULL},
	};
	for (int i = 0; i + 2 < e->ndim; i++)
		m->g.rows *= e->shape[i];
	*g = &m->g;
	return transpose ? transpose_matrix(arena, out, g) : 0;
}
