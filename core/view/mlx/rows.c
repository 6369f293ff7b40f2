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
	const struct encoded *e = make->of.e;

	e->encoding->lines(e, &at, &(struct lines){.code = t->code});
	for (size_t i = 0; i < cells; i++)
		t->level[i] = t->code[i];
	memset(t->zero, 0, coded_runs_max(&make->of, t->r.columns) * (size_t)t->r.rows);
}

static void pack_tile(const struct mlx_rows *rows, const struct mlx_tile *t, unsigned char *dst, size_t dst_row)
{
	const struct mlx_make *make = &rows->make;
	const struct coded *c = &make->of;
	const uint32_t blocks = t->r.columns / MLX_BLOCK, first = t->r.column0 / c->run;

	if (c->e->encoding->lines) {
		load_lines(make, t);
	} else {
		c->e->encoding->units(c->e, c->kernels, c->units, t->level, &t->r);
		coded_load_runs(c, &t->r, t->zero, NULL);
	}
	for (uint32_t n = 0; n < t->r.rows; n++) {
		for (uint32_t b = 0; b < blocks; b++) {
			const uint32_t run = (t->r.column0 + b * MLX_BLOCK) / c->run - first;

			t->block_zero[b] = t->zero[run * t->r.rows + n];
		}
		c->kernels->mlx.pack[make->bits](dst + n * dst_row, t->level + (size_t)n * t->r.columns, t->block_zero,
		    blocks);
	}
}

/* Room for a tile, in one piece. */
static size_t mlx_room_bytes(const struct mlx_rows *rows)
{
	const size_t runs = coded_runs_max(&rows->make.of, rows->tile_columns);

	return (size_t)TILE_ROWS * (rows->tile_columns * 3 + runs) + rows->tile_columns / MLX_BLOCK;
}

static struct mlx_tile tile_in(const struct mlx_rows *rows, void *room)
{
	const size_t cells = (size_t)TILE_ROWS * rows->tile_columns;
	const size_t runs = coded_runs_max(&rows->make.of, rows->tile_columns);
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

static struct coded_block block_of(const struct mlx_make *make)
{
	return (struct coded_block){MLX_BLOCK, MLX_BLOCK / 8 * make->bits};
}

static void run_words(void *ctx)
{
	const struct mlx_job *job = ctx;
	const struct mlx_rows *rows = job->rows;
	const struct coded *c = &rows->make.of;
	const struct coded_block block = block_of(&rows->make);
	const struct kernel_rect all = coded_weights(job->r, block);
	const uint32_t row_end = all.row0 + all.rows, end = all.column0 + all.columns;
	struct mlx_tile t = tile_in(rows, job->room);

	if (c->e->encoding->words && c->e->encoding->words(c->e, c->kernels, rows->make.bits, job->dst, &all))
		return;
	for (uint32_t n = all.row0; n < row_end; n += t.r.rows)
		for (uint32_t k = all.column0; k < end; k += t.r.columns) {
			t.r = (struct kernel_rect){
			    n, at_most(row_end - n, TILE_ROWS), k, at_most(end - k, rows->tile_columns)};
			pack_tile(rows, &t,
			    job->dst + (size_t)(n - all.row0) * job->r->bytes +
				(k - all.column0) / MLX_BLOCK * block.bytes,
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

static void words_need(const struct generator *g, const struct rect *r, struct spans *out)
{
	coded_needs(&((const struct mlx_rows *)g)->make.of, r, out);
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

			mlx_parameters(make->of.e, &r, scale, bias);
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

static int mlx_make_rows(const struct mlx_make *make, struct coded_block block, struct arena *arena,
    struct mlx_rows **out)
{
	struct mlx_rows *rows = arena_alloc(arena, 1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	rows->make = *make;
	*out = rows;
	return coded_rows(&make->of, block, arena, &rows->g);
}

int mlx_word_rows(const struct mlx_make *make, struct arena *arena, const struct generator **g)
{
	static const struct generator_ops ops = {mlx_fill_words, words_need};
	const struct coded_block block = block_of(make);
	struct mlx_rows *rows;
	int rc = mlx_make_rows(make, block, arena, &rows);

	if (rc)
		return rc;
	rows->tile_columns = coded_tile_columns(&make->of, block, TILE_COLUMNS);
	rows->g.ops = &ops;
	*g = &rows->g;
	return 0;
}

/* A block is a group, of which there is one number. */
static int mlx_parameter_rows(const struct mlx_make *make, struct arena *arena, bool bias, const struct generator **g)
{
	static const struct generator_ops ops = {fill_parameters, NULL};
	const struct coded_block block = {make->group, (uint32_t)dtype_bytes(make->dtype)};
	struct mlx_rows *rows;
	int rc = mlx_make_rows(make, block, arena, &rows);

	if (rc)
		return rc;
	rows->bias = bias;
	rows->g.ops = &ops;
	rows->g.step = block.bytes;
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
