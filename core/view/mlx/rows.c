/* SPDX-License-Identifier: MIT */
#include "view/mlx/rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/element.h"
#include "view/mlx/types.h"

struct mlx_rows {
	struct generator g; /* first */
	struct mlx_make make;
	uint32_t tile_columns; /* of weights that are taken apart at a time, at most */
	bool bias;
};

struct mlx_job {
	const struct mlx_rows *rows;
	unsigned char *dst;
	const struct rect *r;
	void *room; /* for a tile */
};

/* ---- codes ---- */

/* Weights are taken apart in tiles that stay in the second cache. */
#define TILE_ROWS 32
#define TILE_COLUMNS 1024

/* A tile while it is made. */
struct mlx_tile {
	struct kernel_rect r;
	uint16_t *level;     /* [rows][columns] */
	uint8_t *code;       /* likewise, of lines */
	uint8_t *zero;       /* [runs][rows] */
	uint8_t *block_zero; /* of one row, by block */
};

/* Codes of lines, in place of codes less their zeros. */
static void load_lines(const struct mlx_make *make, const struct mlx_tile *t)
{
	const struct code_rect at = {t->r.row0, t->r.rows, t->r.column0, t->r.columns};
	const size_t cells = (size_t)t->r.rows * t->r.columns;

	make->e->encoding->lines(make->e, &at, &(struct lines){.code = t->code});
	for (size_t i = 0; i < cells; i++)
		t->level[i] = t->code[i];
	memset(t->zero, 0, (t->r.columns / make->run + 2) * (size_t)t->r.rows);
}

static void load_zeros(const struct mlx_make *make, const struct mlx_tile *t)
{
	const uint32_t run = make->run, first = t->r.column0 / run, last = (t->r.column0 + t->r.columns - 1) / run;

	for (uint32_t i = first; i <= last; i++) {
		const struct code_rect at = {t->r.row0, t->r.rows, i == first ? t->r.column0 : i * run, 1};

		make->e->encoding->codes(make->e, &at,
		    &(struct codes){.zero = t->zero + (size_t)(i - first) * t->r.rows});
	}
}

static void pack_tile(const struct mlx_rows *rows, const struct mlx_tile *t, unsigned char *dst, size_t dst_row)
{
	const struct mlx_make *make = &rows->make;
	const uint32_t blocks = t->r.columns / MLX_BLOCK, first = t->r.column0 / make->run;

	if (make->e->encoding->lines) {
		load_lines(make, t);
	} else {
		make->e->encoding->units(make->e, make->kernels, make->units, t->level, &t->r);
		load_zeros(make, t);
	}
	for (uint32_t n = 0; n < t->r.rows; n++) {
		for (uint32_t b = 0; b < blocks; b++) {
			const uint32_t run = (t->r.column0 + b * MLX_BLOCK) / make->run - first;

			t->block_zero[b] = t->zero[run * t->r.rows + n];
		}
		make->kernels->mlx.pack[make->bits](dst + n * dst_row, t->level + (size_t)n * t->r.columns,
		    t->block_zero, blocks);
	}
}

/* Room for a tile, in one piece. */
static size_t mlx_room_bytes(const struct mlx_rows *rows)
{
	const size_t runs = rows->tile_columns / rows->make.run + 2;

	return (size_t)TILE_ROWS * (rows->tile_columns * 3 + runs) + rows->tile_columns / MLX_BLOCK;
}

static struct mlx_tile tile_in(const struct mlx_rows *rows, void *room)
{
	const size_t cells = (size_t)TILE_ROWS * rows->tile_columns, runs = rows->tile_columns / rows->make.run + 2;
	struct mlx_tile t = {.level = room};

	t.code = (uint8_t *)(t.level + cells);
	t.zero = t.code + cells;
	t.block_zero = t.zero + runs * TILE_ROWS;
	return t;
}

static uint32_t at_most(uint64_t left, uint32_t most)
{
	return left < most ? (uint32_t)left : most;
}

static void run_words(void *ctx)
{
	const struct mlx_job *job = ctx;
	const struct mlx_rows *rows = job->rows;
	const struct encoded *e = rows->make.e;
	const unsigned block = MLX_BLOCK / 8 * rows->make.bits;
	const uint64_t row_end = job->r->row0 + job->r->nrows;
	const uint32_t from = (uint32_t)(job->r->from / block * MLX_BLOCK);
	const uint32_t end = from + (uint32_t)(job->r->bytes / block * MLX_BLOCK);
	const struct kernel_rect all = {(uint32_t)job->r->row0, (uint32_t)job->r->nrows, from, end - from};
	struct mlx_tile t = tile_in(rows, job->room);

	if (e->encoding->words && e->encoding->words(e, rows->make.kernels, rows->make.bits, job->dst, &all))
		return;
	for (uint64_t n = job->r->row0; n < row_end; n += TILE_ROWS)
		for (uint32_t k = from; k < end; k += t.r.columns) {
			t.r = (struct kernel_rect){
			    (uint32_t)n, at_most(row_end - n, TILE_ROWS), k, at_most(end - k, rows->tile_columns)};
			pack_tile(rows, &t,
			    job->dst + (n - job->r->row0) * job->r->bytes + (k - from) / MLX_BLOCK * block,
			    job->r->bytes);
		}
}

static int mlx_fill_words(const struct generator *g, void *dst, const struct rect *r)
{
	const struct mlx_rows *rows = (const struct mlx_rows *)g;
	struct mlx_job job = {rows, dst, r, malloc(mlx_room_bytes(rows))};
	int rc = job.room ? inputs_guard(&g->inputs, run_words, &job) : -ENOMEM;

	free(job.room);
	return rc;
}

/* The dense rows read the same bytes. */
static void words_need(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct generator *dense = ((const struct mlx_rows *)g)->make.e->dense[DTYPE_F16];

	if (dense->ops->needs)
		dense->ops->needs(dense, &(struct rect){r->row0, r->nrows, 0, dense->row_bytes}, out);
}

/* ---- scales and biases ---- */

static void run_parameters(void *ctx)
{
	const struct mlx_job *job = ctx;
	const struct mlx_make *make = &job->rows->make;
	const uint32_t width = (uint32_t)dtype_bytes(make->dtype);
	const uint64_t first = job->r->from / width, count = job->r->bytes / width;
	float scale[MLX_ROWS], bias[MLX_ROWS];
	const float *shown = job->rows->bias ? bias : scale;

	for (uint64_t n = 0; n < job->r->nrows; n += MLX_ROWS)
		for (uint64_t j = 0; j < count; j++) {
			const struct code_rect r = {
			    job->r->row0 + n, at_most(job->r->nrows - n, MLX_ROWS), (first + j) * make->group, 1};

			mlx_parameters(make->e, &r, scale, bias);
			for (uint64_t i = 0; i < r.rows; i++)
				element_store(job->dst, (n + i) * count + j, shown[i], make->dtype);
		}
}

static int fill_parameters(const struct generator *g, void *dst, const struct rect *r)
{
	struct mlx_job job = {(const struct mlx_rows *)g, dst, r, NULL};

	return inputs_guard(&g->inputs, run_parameters, &job);
}

/* ---- making them ---- */

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

/* Makes rows that are read from what dense rows are read from. */
static int mlx_make_rows(const struct mlx_make *make, struct arena *arena, struct mlx_rows **out)
{
	struct encoded *e = make->e;
	const struct generator **dense = &e->dense[DTYPE_F16];
	struct mlx_rows *rows = arena_alloc(arena, 1, sizeof(*rows));
	int rc = rows ? 0 : -ENOMEM;

	if (rc == 0 && !*dense)
		rc = e->encoding->rows(e, make->kernels, DTYPE_F16, arena, dense);
	if (rc)
		return rc;
	*rows = (struct mlx_rows){.make = *make};
	rows->g = (struct generator){.rows = e->shape[0], .run_rows = (*dense)->run_rows, .inputs = (*dense)->inputs};
	*out = rows;
	return 0;
}

int mlx_word_rows(const struct mlx_make *make, struct arena *arena, const struct generator **g)
{
	static const struct generator_ops ops = {mlx_fill_words, words_need};
	const uint32_t columns = (uint32_t)make->e->shape[1], step = common_multiple(make->step, MLX_BLOCK);
	struct mlx_rows *rows;
	int rc = mlx_make_rows(make, arena, &rows);

	if (rc)
		return rc;
	rows->tile_columns = step >= TILE_COLUMNS ? step : TILE_COLUMNS / step * step;
	rows->tile_columns = rows->tile_columns < columns ? rows->tile_columns : columns;
	rows->g.ops = &ops;
	rows->g.row_bytes = (uint64_t)columns / 8 * make->bits;
	rows->g.tile_rows = generator_tile_rows(rows->g.row_bytes);
	rows->g.step = generator_step((uint64_t)step / 8 * make->bits);
	*g = &rows->g;
	return 0;
}

static int mlx_parameter_rows(const struct mlx_make *make, struct arena *arena, bool bias, const struct generator **g)
{
	static const struct generator_ops ops = {fill_parameters, NULL};
	const uint32_t width = (uint32_t)dtype_bytes(make->dtype);
	struct mlx_rows *rows;
	int rc = mlx_make_rows(make, arena, &rows);

	if (rc)
		return rc;
	rows->bias = bias;
	rows->g.ops = &ops;
	rows->g.row_bytes = make->e->shape[1] / make->group * width;
	rows->g.tile_rows = generator_tile_rows(rows->g.row_bytes);
	rows->g.step = width;
	rows->g.run_rows = 0;
	*g = &rows->g;
	return 0;
}

int mlx_scale_rows(const struct mlx_make *make, struct arena *arena, const struct generator **g)
{
	return mlx_parameter_rows(make, arena, false, g);
}

int mlx_bias_rows(const struct mlx_make *make, struct arena *arena, const struct generator **g)
{
	return mlx_parameter_rows(make, arena, true, g);
}
