/* SPDX-License-Identifier: MIT */

/* The C reference: deliberately plain, since every kernel is compared with it. */

#include "kernel/lora/lora.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernel/element.h"
#include "kernel/simd/inline.h"

/* ---- panels ---- */

#define RUN 256 /* elements that are cast at a time: a multiple of every width */

/* Returns the lines of a block. */
static size_t lines_of_block(const struct lora_piece *p)
{
	return p->rank + (size_t)p->floats;
}

size_t lora_panel_bytes(const struct lora_piece *p)
{
	return div_up(p->count, p->width) * p->width * lines_of_block(p) * (p->floats ? sizeof(float) : sizeof(double));
}

/* Returns where the element of row or column x and of product i is. */
static size_t panel_at(const struct lora_piece *p, uint32_t x, uint32_t i)
{
	return (x / p->width * lines_of_block(p) + i) * p->width + x % p->width;
}

/* Up to a line of a block. */
ALWAYS_INLINE void put_line(void *panel, size_t to, const float *restrict run, uint32_t n, bool floats)
{
	double *restrict line = (double *)panel + to;

	if (floats)
		memcpy((float *)panel + to, run, n * sizeof(*run));
	else
		for (uint32_t k = 0; k < n; k++)
			line[k] = run[k];
}

/* Elements of product i, of n rows or columns from x on, which is the first of a block: they lie side by side there. */
static void put_across(void *panel, const struct lora_piece *p, const uint32_t at[2], const float *run, uint32_t n)
{
	for (uint32_t k = 0; k < n; k += p->width, run += p->width) {
		const size_t to = panel_at(p, at[0] + k, at[1]);

		/* Nearly always a whole line of R: then a few vector moves suffice. */
		if (n - k >= LORA_COLUMNS && p->width == LORA_COLUMNS && p->floats)
			put_line(panel, to, run, LORA_COLUMNS, true);
		else if (n - k >= LORA_COLUMNS && p->width == LORA_COLUMNS)
			put_line(panel, to, run, LORA_COLUMNS, false);
		else
			put_line(panel, to, run, n - k < p->width ? n - k : p->width, p->floats);
	}
}

/* Elements of row or column x, of n products from i on. */
static void put_along(void *panel, const struct lora_piece *p, const uint32_t at[2], const float *run, uint32_t n)
{
	const size_t to = panel_at(p, at[0], at[1]);

	for (uint32_t i = 0; i < n; i++)
		if (p->floats)
			((float *)panel)[to + (size_t)i * p->width] = run[i];
		else
			((double *)panel)[to + (size_t)i * p->width] = run[i];
}

/* Elements of one product, or of one row or column, lie side by side: cast together, then put in place. */
static void pack_runs(void *panel, const struct lora_piece *p, cast_fn *to_float, bool across)
{
	const struct lora_factor *f = p->factor;
	const size_t width = dtype_bytes(f->dtype);
	const uint32_t runs = across ? p->rank : p->count, length = across ? p->count : p->rank;
	float run[RUN];

	for (uint32_t a = 0; a < runs; a++)
		for (uint32_t b = 0; b < length; b += RUN) {
			const uint32_t n = length - b < RUN ? length - b : RUN;
			const uint64_t x = p->first + (across ? b : a), i = across ? a : b;

			to_float(run, f->data + (x * f->across + i * f->along) * width, n);
			if (across)
				put_across(panel, p, (uint32_t[]){b, a}, run, n);
			else
				put_along(panel, p, (uint32_t[]){a, b}, run, n);
		}
}

static void pack_elements(void *panel, const struct lora_piece *p)
{
	const struct lora_factor *f = p->factor;

	for (uint32_t x = 0; x < p->count; x++)
		for (uint32_t i = 0; i < p->rank; i++) {
			const float value = element_load(f->data, (p->first + x) * f->across + i * f->along, f->dtype);

			put_along(panel, p, (uint32_t[]){x, i}, &value, 1);
		}
}

static bool is_zero_block(const float *block, uint32_t rank, uint32_t width)
{
	for (uint32_t i = 0; i < rank; i++)
		if (block[(size_t)i * width] != 0)
			return false;
	return true;
}

typedef float floats4 __attribute__((vector_size(16)));

#define NORMS 8 /* at a time */

/* Adds a chunk's squares times how many roundings of a bounded kernel each of its products goes through. */
static void add_squares(floats4 sum[2], const float *block, uint32_t width, uint32_t terms, uint32_t after)
{
	floats4 n = (floats4){0} + (float)(terms + after), x[2];

	for (uint32_t i = 0; i < terms; i++, n -= 1) {
		memcpy(x, block + (size_t)i * width, sizeof(x));
		sum[0] += n * (x[0] * x[0]);
		sum[1] += n * (x[1] * x[1]);
	}
}

/* In floats, whose roundings are less than 2^-17 of a sum. What underflows is not moderate. */
static void put_norms_of(float *block, uint32_t rank, uint32_t width)
{
	const uint32_t chunks = (uint32_t)div_up(rank, LORA_CHUNK);
	floats4 sum[2] = {{0}};
	float norm[NORMS];

	for (uint32_t chunk = 0; chunk < chunks; chunk++) {
		const uint32_t first = chunk * LORA_CHUNK, terms = chunk + 1 < chunks ? LORA_CHUNK : rank - first;

		add_squares(sum, block + (size_t)first * width, width, terms, chunks - (chunk ? chunk : 1));
	}
	memcpy(norm, sum, sizeof(norm));
	for (uint32_t k = 0; k < NORMS; k++) {
		norm[k] = sqrtf(norm[k]) * (1 + 0x1p-17f);
		if (!(norm[k] >= 0x1p-40f && norm[k] <= 0x1p40f))
			norm[k] = is_zero_block(block + k, rank, width) ? 0 : HUGE_VALF;
	}
	memcpy(block + (size_t)rank * width, norm, sizeof(norm));
}

/* The last line of each block of floats: norms as defined in lora_bounded.h, never rounded down. */
static void put_norms(float *panel, const struct lora_piece *p)
{
	for (uint32_t x = 0; x < p->count; x += p->width, panel += lines_of_block(p) * p->width)
		for (uint32_t k = 0; k < p->width; k += NORMS)
			put_norms_of(panel + k, p->rank, p->width);
}

void lora_pack(void *panel, const struct lora_piece *p, cast_fn *const to_float[DTYPE_VIEWS])
{
	const float zero = 0;

	for (uint32_t x = p->count; x % p->width; x++)
		for (uint32_t i = 0; i < p->rank; i++)
			put_along(panel, p, (uint32_t[]){x, i}, &zero, 1);
	if (p->factor->across == 1 || p->factor->along == 1)
		pack_runs(panel, p, to_float[p->factor->dtype], p->factor->across == 1);
	else
		pack_elements(panel, p);
	if (p->floats)
		put_norms(panel, p);
}

/* ---- the reference ---- */

static void store_double(void *array, size_t i, double value, enum dtype dtype)
{
	const uint32_t bits = float_bits_of_double(value);
	const uint16_t half = dtype == DTYPE_F16 ? half_of_double(value) : bf16_of_double(value);

	if (dtype == DTYPE_F64)
		memcpy((char *)array + i * 8, &value, 8);
	else if (dtype == DTYPE_F32)
		memcpy((char *)array + i * 4, &bits, 4);
	else
		memcpy((char *)array + i * 2, &half, 2);
}

/* The contract, except for the last rounding. */
static double lora_value(const struct lora_tile *t, uint32_t n, uint32_t k, bool doubles)
{
	const double *l = (const double *)t->l + (size_t)(n / LORA_ROWS) * t->rank * LORA_ROWS + n % LORA_ROWS;
	const double *r = (const double *)t->r + (size_t)(k / LORA_COLUMNS) * t->rank * LORA_COLUMNS + k % LORA_COLUMNS;
	const size_t at = n * t->w_step + k;
	double d = 0;

	for (uint32_t i = 0; i < t->rank; i++)
		d += l[i * LORA_ROWS] * r[i * LORA_COLUMNS];
	return (doubles ? ((const double *)t->w)[at] : (double)((const float *)t->w)[at]) + t->scale * d;
}

ALWAYS_INLINE void lora_rows(const struct lora_tile *t, enum dtype in, enum dtype out)
{
	for (uint32_t n = 0; n < t->rows; n++)
		for (uint32_t k = 0; k < t->columns; k++)
			store_double((char *)t->dst + n * t->dst_step, k, lora_value(t, n, k, in == DTYPE_F64), out);
}

static double square_sum(const double *v, size_t n)
{
	double p[16] = {0};

	for (size_t k = 0; k < n; k++)
		p[k % 16] += v[k] * v[k];
	for (size_t half = 8; half; half /= 2)
		for (size_t j = 0; j < half; j++)
			p[j] += p[j + half];
	return p[0];
}

ALWAYS_INLINE void dora_row(void *dst, const double *v, size_t n, double magnitude, enum dtype out)
{
	const double f = magnitude / sqrt(square_sum(v, n));

	for (size_t k = 0; k < n; k++)
		store_double(dst, k, f * v[k], out);
}

#include "kernel/lora/lora_table.h"

void lora_init(struct lora_dsp *dsp)
{
	lora_install(dsp);
}
