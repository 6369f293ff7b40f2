/* SPDX-License-Identifier: MIT */

/*
 * LoRA: factors of every type and orientation are packed and merged by every level, and compared with sums of doubles
 * over the factors as they are stored, rounded by counting steps.
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { RANK_MOST = 300, SIDE_MOST = 150 };

static const enum dtype factor_types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
static const char *const out_names[] = {"F16", "BF16", "F32", "F64"};

/* One term: factors in memory, and what a merge wants of them. */
struct term {
	struct lora_factor l, r;
	uint64_t first_row, first_column;
	uint32_t rank, rows, columns;
	double scale;
	double *l_panel, *r_panel;
	float *l_floats, *r_floats;
	bool edges; /* sums lie where the error of fp32 is greatest */
};

/* ---- chance ---- */

/* Mostly such as real adapters have, some of them nothing, some of them odd. */
static double random_value(struct check *c, enum dtype dtype, bool odd)
{
	const double usual = ((double)rnd(c) / 0x1p31 - 1) * ldexp(1, -(int)below(c, 8));

	if (below(c, 8) == 0)
		return 0;
	if (!odd)
		return usual;
	switch (below(c, 6)) {
	case 0:
		return ldexp(usual, -120 - (int)below(c, 40));
	case 1:
		return ldexp(usual, (int)below(c, 120));
	case 2:
		return below(c, 40) ? usual : (double)(below(c, 2) ? NAN : INFINITY);
	default:
		return number_decode(dtype == DTYPE_F32 ? rnd(c) : rnd(c) & 0xffff, dtype);
	}
}

/* A factor of `count` rows or columns, side by side in either orientation, or with something between. */
static struct lora_factor random_factor(struct check *c, enum operand operand, uint64_t count, uint32_t rank, bool odd)
{
	struct lora_factor f = {.dtype = factor_types[below(c, ARRAY_SIZE(factor_types))]};
	const uint64_t between = below(c, 4) ? 1 : 1 + below(c, 3);
	const size_t width = dtype_bytes(f.dtype);
	unsigned char *data = place(c, operand, count * rank * between * width, 1);

	f.across = below(c, 2) ? between : rank * between;
	f.along = f.across == between ? count * between : between;
	for (size_t i = 0; i < count * rank * between; i++) {
		const uint64_t bits = number_encode(random_value(c, f.dtype, odd), f.dtype);

		memcpy(data + i * width, &bits, width);
	}
	f.data = data;
	return f;
}

static double factor_at(const struct lora_factor *f, uint64_t x, uint64_t i)
{
	uint64_t bits = 0;

	memcpy(&bits, f->data + (x * f->across + i * f->along) * dtype_bytes(f->dtype), dtype_bytes(f->dtype));
	return number_decode(bits, f->dtype);
}

/* ---- the second implementation ---- */

static double naive_delta(const struct term *t, uint32_t n, uint32_t k)
{
	double d = 0;

	for (uint32_t i = 0; i < t->rank; i++)
		d += factor_at(&t->l, t->first_row + n, i) * factor_at(&t->r, t->first_column + k, i);
	return t->scale * d;
}

static void naive_store(unsigned char *dst, size_t at, double value, unsigned out)
{
	const uint64_t bits = out == DTYPE_F64 ? 0 : number_encode(value, (enum dtype)out);
	const size_t width = dtype_bytes((enum dtype)out);

	if (out == DTYPE_F64)
		memcpy(dst + at * width, &value, width);
	else
		memcpy(dst + at * width, &bits, width);
}

/* ---- one merge ---- */

static void *pack(const struct lora_factor *f, struct lora_piece piece)
{
	const size_t bytes = lora_panel_bytes(&piece);
	void *panel = need(malloc(bytes));

	piece.factor = f;
	memset(panel, POISON, bytes);
	lora_pack(panel, &piece,
	    (cast_fn *const[]){cast_reference[DTYPE_F16][DTYPE_F32], cast_reference[DTYPE_BF16][DTYPE_F32],
		cast_reference[DTYPE_F32][DTYPE_F32]});
	return panel;
}

static void pack_term(struct term *t)
{
	t->l_panel = pack(&t->l, (struct lora_piece){NULL, t->first_row, t->rows, t->rank, LORA_ROWS, false});
	t->r_panel = pack(&t->r, (struct lora_piece){NULL, t->first_column, t->columns, t->rank, LORA_COLUMNS, false});
	t->l_floats = pack(&t->l, (struct lora_piece){NULL, t->first_row, t->rows, t->rank, LORA_ROWS, true});
	t->r_floats = pack(&t->r, (struct lora_piece){NULL, t->first_column, t->columns, t->rank, LORA_COLUMNS, true});
}

static struct term random_term(struct check *c, uint32_t rows, uint32_t columns, bool odd)
{
	static const uint16_t ranks[] = {1, 2, 4, 8, 8, 12, 16, 16, 32, 64};
	struct term t = {.rows = rows, .columns = columns, .rank = pick(c, ranks, ARRAY_SIZE(ranks), RANK_MOST)};

	t.scale =
	    below(c, 3) ? ldexp(1 + (double)below(c, 3) / 2, (int)below(c, 6) - 3) : random_value(c, DTYPE_F32, false);
	t.first_row = below(c, 20);
	t.first_column = below(c, 20);
	t.l = random_factor(c, SCALES, t.first_row + rows + below(c, 3), t.rank, odd);
	t.r = random_factor(c, ZEROS, t.first_column + columns + below(c, 3), t.rank, odd);
	if (odd && below(c, 4) == 0)
		t.scale = ldexp(t.scale, (int)below(c, 200) - 100);
	pack_term(&t);
	return t;
}

/* Pairs of numbers a little above one power of two: sums of two products err by nearly as much as they can. */
static struct lora_factor edge_factor(struct check *c, enum operand operand, uint64_t count)
{
	unsigned char *data = place(c, operand, 2 * count * sizeof(float), 1);

	for (size_t i = 0; i < 2 * count; i += 2) {
		const float power = ldexpf(below(c, 2) ? 1 : -1, (int)below(c, 3));
		const float pair[2] = {power * (1 + (float)below(c, 1 << 18) * 0x1p-23f),
		    power * (1 + (float)below(c, 1 << 18) * 0x1p-23f)};

		memcpy(data + i * sizeof(float), pair, sizeof(pair));
	}
	return (struct lora_factor){data, DTYPE_F32, 2, 1};
}

static struct term edge_term(struct check *c, uint32_t rows, uint32_t columns)
{
	struct term t = {.rows = rows, .columns = columns, .rank = 2, .scale = 1, .edges = true};

	t.l = edge_factor(c, SCALES, rows);
	t.r = edge_factor(c, ZEROS, columns);
	pack_term(&t);
	return t;
}

static void term_free(struct term *t)
{
	free(t->l_panel);
	free(t->r_panel);
	free(t->l_floats);
	free(t->r_floats);
}

/*
 * The base value with which a sum comes to lie beside a number half way between two of F16 or BF16, a little above the
 * power of two that delta is above as well: where a bounded kernel needs all of its bound.
 */
static double edge_base(struct check *c, double delta)
{
	const int bits = below(c, 2) ? 10 : 7;
	int exponent;

	(void)frexp(delta, &exponent);
	return copysign(ldexp(1 + ldexp(2.0 * below(c, 4) + 1, -bits - 1), exponent - 1), delta) - delta;
}

/* Base values: many for which the sum comes to lie where a second rounding would show, or cancels. */
static void random_base(struct check *c, const struct term *t, unsigned char *w, size_t step, bool doubles)
{
	for (uint32_t n = 0; n < t->rows; n++)
		for (uint32_t k = 0; k < step; k++) {
			const double delta = k < t->columns ? naive_delta(t, n, k) : 0;
			double value = below(c, 2) ? number_awkward(c) - delta : random_value(c, DTYPE_F32, true);
			float single;

			if (t->edges)
				value = edge_base(c, delta);
			else if (below(c, 16) == 0)
				value = -delta;
			single = (float)value;
			if (doubles)
				memcpy(w + (n * step + k) * 8, &value, 8);
			else
				memcpy(w + (n * step + k) * 4, &single, 4);
		}
}

/* Doubles are an intermediate result, whose NaNs may be any. */
static void same_nans(unsigned char *dst, size_t columns)
{
	double value;

	for (size_t k = 0; k < columns; k++) {
		memcpy(&value, dst + k * sizeof(value), sizeof(value));
		if (isnan(value))
			memcpy(dst + k * sizeof(value), &(double){(double)NAN}, sizeof(value));
	}
}

/* Compares with c->arena[EXPECTED]. */
static void check_kernel(struct check *c, lora_fn *kernel, struct lora_tile *tile, unsigned out, const char *what)
{
	const size_t bytes = (tile->rows - 1) * tile->dst_step + tile->columns * dtype_bytes((enum dtype)out);

	tile->dst = place_output(c, bytes);
	memset(tile->dst, POISON, bytes);
	kernel(tile);
	for (uint32_t n = 0; out == DTYPE_F64 && n < tile->rows; n++)
		same_nans((unsigned char *)tile->dst + n * tile->dst_step, tile->columns);
	compare(c, tile->dst, c->arena[EXPECTED].start, bytes, what);
}

static void check_merge(struct check *c, const struct term *t, bool doubles, unsigned out)
{
	const uint32_t step = (t->columns + LORA_COLUMNS - 1) / LORA_COLUMNS * LORA_COLUMNS;
	const size_t width = dtype_bytes((enum dtype)out), row = t->columns * width + below(c, 2) * 10;
	const size_t bytes = (t->rows - 1) * row + t->columns * width;
	unsigned char *w = place(c, CODES, (size_t)t->rows * step * (doubles ? 8 : 4), 8);
	unsigned char *expected = c->arena[EXPECTED].start;
	char what[160];

	random_base(c, t, w, step, doubles);
	memset(expected, POISON, bytes);
	for (uint32_t n = 0; n < t->rows; n++)
		for (uint32_t k = 0; k < t->columns; k++) {
			const size_t at = (size_t)n * step + k;
			double value;
			float single;

			memcpy(&value, w + at * 8 * doubles, 8);
			memcpy(&single, w + at * 4 * !doubles, 4);
			naive_store(expected + n * row, k, (doubles ? value : single) + naive_delta(t, n, k), out);
		}
	for (uint32_t n = 0; out == DTYPE_F64 && n < t->rows; n++)
		same_nans(expected + n * row, t->columns);
	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		const struct lora_dsp *dsp = &c->kernels[level].lora;
		struct lora_tile tile = {
		    w, step, t->l_panel, t->r_panel, t->scale, t->rank, t->rows, t->columns, NULL, row};

		snprintf(what, sizeof(what), "%s %s to %s, %ux%u, rank %u, scale %g", cpu_name(level),
		    doubles ? "F64" : "F32", out_names[out], t->rows, t->columns, t->rank, t->scale);
		check_kernel(c, dsp->merge[doubles][out], &tile, out, what);
		if (doubles || out > DTYPE_BF16 || !dsp->bounded[out])
			continue;
		tile.l = t->l_floats;
		tile.r = t->r_floats;
		memmove(what + 8, what, sizeof(what) - 8);
		memcpy(what, "bounded ", 8);
		check_kernel(c, dsp->bounded[out], &tile, out, what);
	}
}

/* ---- DoRA ---- */

static double naive_norm(const double *v, size_t n)
{
	double p[16] = {0};

	for (size_t k = 0; k < n; k++)
		p[k % 16] = p[k % 16] + v[k] * v[k];
	for (int j = 0; j < 8; j++)
		p[j] = p[j] + p[j + 8];
	return sqrt(((p[0] + p[4]) + (p[2] + p[6])) + ((p[1] + p[5]) + (p[3] + p[7])));
}

static void check_dora(struct check *c, enum dtype out)
{
	const size_t n = 1 + below(c, below(c, 4) ? 400 : 20), bytes = n * dtype_bytes(out);
	const double magnitude = random_value(c, DTYPE_F32, below(c, 4) == 0);
	unsigned char *expected = c->arena[EXPECTED].start;
	double *v = (double *)place(c, CODES, n * sizeof(*v), 8), factor;
	char what[96];

	for (size_t k = 0; k < n; k++)
		v[k] = below(c, 64) ? random_value(c, DTYPE_F32, false) : number_awkward(c);
	factor = magnitude / naive_norm(v, n);
	for (size_t k = 0; k < n; k++)
		naive_store(expected, k, factor * v[k], out);
	for (enum cpu_level level = CPU_C; level <= c->max; level++) {
		dora_fn *kernel = c->kernels[level].lora.dora[out];
		unsigned char *dst = place_output(c, bytes);

		kernel(dst, v, n, magnitude);
		snprintf(what, sizeof(what), "%s DoRA to %s, %zu columns, magnitude %g", cpu_name(level),
		    out_names[out], n, magnitude);
		compare(c, dst, expected, bytes, what);
	}
}

void check_lora(struct check *c)
{
	for (int i = 0; i < 1500; i++) {
		struct term t;

		if (!sampled(c))
			continue;
		t = random_term(c, 1 + below(c, below(c, 2) ? 30 : 5), 1 + below(c, below(c, 4) ? 70 : SIDE_MOST),
		    below(c, 3) == 0);

		check_merge(c, &t, below(c, 2), below(c, LORA_OUTS));
		term_free(&t);
	}
	for (int i = 0; i < 200; i++) {
		struct term t;

		if (!sampled(c))
			continue;
		t = edge_term(c, 1 + below(c, 16), 1 + below(c, SIDE_MOST));
		check_merge(c, &t, false, below(c, 2) ? DTYPE_F16 : DTYPE_BF16);
		term_free(&t);
	}
	group_end(c, "LoRA");
	for (int i = 0; i < 3000; i++)
		if (sampled(c))
			check_dora(c, (enum dtype)(i % DTYPE_VIEWS));
	group_end(c, "DoRA");
}
