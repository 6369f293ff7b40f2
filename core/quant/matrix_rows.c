/* SPDX-License-Identifier: MIT */
#include "quant/matrix_rows.h"

#include <errno.h>

#include "tree/turn.h"

struct matrix_rows {
	struct generator g; /* first */
	const struct encoded *e;
	const struct matrix_ops *ops;
	const struct kernels *kernels;
	enum dtype out;
	uint32_t each; /* rows of a matrix */
};

/* Called for each matrix that a rectangle intersects. */
typedef void part_fn(const struct matrix_rows *m, uint64_t matrix, const struct kernel_rect *part, void *ctx);

static void for_each_part(const struct matrix_rows *m, const struct rect *r, part_fn *fn, void *ctx)
{
	const uint32_t width = (uint32_t)dtype_bytes(m->out);

	for (uint64_t row = r->row0, end = row + r->nrows; row < end;) {
		const uint32_t row0 = (uint32_t)(row % m->each);
		const uint32_t count = end - row < m->each - row0 ? (uint32_t)(end - row) : m->each - row0;
		const struct kernel_rect part = {
		    row0, count, (uint32_t)(r->from / width), (uint32_t)(r->bytes / width)};

		fn(m, row / m->each, &part, ctx);
		row += count;
	}
}

struct matrix_job {
	const struct matrix_rows *m;
	const struct rect *r;
	unsigned char *dst; /* of the next part */
};

static void fill_part(const struct matrix_rows *m, uint64_t matrix, const struct kernel_rect *part, void *ctx)
{
	struct matrix_job *job = ctx;

	m->ops->fill(m->e, m->kernels, m->out, job->dst, matrix, part);
	job->dst += part->rows * job->r->bytes;
}

static void run_matrix_job(void *ctx)
{
	const struct matrix_job *job = ctx;

	for_each_part(job->m, job->r, fill_part, ctx);
}

static int fill_matrix(const struct generator *g, void *dst, const struct rect *r)
{
	struct matrix_job job = {(const struct matrix_rows *)g, r, dst};

	return inputs_guard(&g->inputs, run_matrix_job, &job);
}

static void need_part(const struct matrix_rows *m, uint64_t matrix, const struct kernel_rect *part, void *ctx)
{
	m->ops->needs(m->e, &m->g.inputs, matrix, part, ctx);
}

static void matrix_needs(const struct generator *g, const struct rect *r, struct spans *out)
{
	for_each_part((const struct matrix_rows *)g, r, need_part, out);
}

static int turn_matrix(struct arena *arena, enum dtype out, const struct generator **g)
{
	const struct turn turn = {.of = {*g}, .count = 1, .element = (uint32_t)dtype_bytes(out)};

	return turn_make(arena, &turn, g);
}

int matrix_rows(struct encoded *e, const struct matrix_ops *ops, const struct kernels *k, enum dtype out,
    struct arena *arena, const struct generator **g)
{
	static const struct generator_ops generator_ops = {fill_matrix, matrix_needs};
	const uint64_t *shape = e->shape + e->ndim - 2;
	const bool turn = e->transposed && !ops->turned;
	const uint64_t rows = shape[turn], columns = shape[!turn];
	const uint64_t width = dtype_bytes(out), row_bytes = columns * width;
	struct matrix_rows *m = arena_alloc(arena, 1, sizeof(*m));

	if (!m)
		return -ENOMEM;
	*m = (struct matrix_rows){.e = e, .ops = ops, .kernels = k, .out = out, .each = (uint32_t)rows};
	m->g = (struct generator){
	    .ops = &generator_ops,
	    .rows = rows,
	    .row_bytes = row_bytes,
	    .tile_rows = generator_tile_rows(row_bytes),
	    .step = ops->cut ? generator_step(ops->cut * width) : 0,
	    .run_rows = ops->run_rows,
	    .inputs = {e->files, e->file_count, ops->scattered ? &e->resident : NULL},
	};
	for (int i = 0; i + 2 < e->ndim; i++)
		m->g.rows *= e->shape[i];
	*g = &m->g;
	return turn ? turn_matrix(arena, out, g) : 0;
}
