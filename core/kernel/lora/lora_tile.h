/* SPDX-License-Identifier: MIT */

/*
 * The kernels of lora.h over vectors of LANES doubles. A file for an instruction set defines, before it includes this:
 * LANES, BLOCK_ROWS (rows whose sums fit into the registers), the vector `doubles` and
 *
 *     doubles_load, doubles_widen, doubles_all, doubles_multiply, doubles_add, doubles_store
 *     multiply_add(a, b, c)                 a * b + c, fused or not
 *     store_rounded(dst, low, high, out)    2 * LANES elements of type F16, BF16 or F32
 */

#include <math.h>
#include <string.h>

#include "kernel/simd/inline.h"
#include "kernel/lora/lora.h"

#define WIDTH (2 * LANES)

struct pair {
	doubles low, high;
};

/* dtype_bytes as a constant. */
ALWAYS_INLINE size_t lora_size(enum dtype out)
{
	return out == DTYPE_F64 ? 8 : out == DTYPE_F32 ? 4 : 2;
}

ALWAYS_INLINE void lora_store(char *dst, struct pair v, uint32_t there, enum dtype out)
{
	char whole[WIDTH * sizeof(double)];
	char *to = there < WIDTH ? whole : dst;

	if (out == DTYPE_F64) {
		doubles_store(to, v.low);
		doubles_store(to + LANES * sizeof(double), v.high);
	} else {
		store_rounded(to, v.low, v.high, out);
	}
	if (there < WIDTH)
		memcpy(dst, whole, there * lora_size(out));
}

ALWAYS_INLINE struct pair lora_base(const struct lora_tile *t, size_t at, enum dtype in)
{
	const double *d = (const double *)t->w + at;
	const float *f = (const float *)t->w + at;

	if (in == DTYPE_F64)
		return (struct pair){doubles_load(d), doubles_load(d + LANES)};
	return (struct pair){doubles_widen(f), doubles_widen(f + LANES)};
}

/* Rows [n, n + BLOCK_ROWS), as far as there are any, and WIDTH columns from k on. */
ALWAYS_INLINE void lora_block(const struct lora_tile *t, uint32_t n, uint32_t k, enum dtype in, enum dtype out)
{
	const double *l = (const double *)t->l + (size_t)(n / LORA_ROWS) * t->rank * LORA_ROWS + n % LORA_ROWS;
	const double *r = (const double *)t->r + (size_t)(k / LORA_COLUMNS) * t->rank * LORA_COLUMNS + k % LORA_COLUMNS;
	const doubles scale = doubles_all(t->scale);
	struct pair sum[BLOCK_ROWS];

	UNROLL
	for (int row = 0; row < BLOCK_ROWS; row++)
		sum[row] = (struct pair){doubles_all(0), doubles_all(0)};
	for (uint32_t i = 0; i < t->rank; i++, l += LORA_ROWS, r += LORA_COLUMNS) {
		const doubles low = doubles_load(r), high = doubles_load(r + LANES);

		UNROLL
		for (int row = 0; row < BLOCK_ROWS; row++) {
			const doubles factor = doubles_all(l[row]);

			sum[row].low = multiply_add(factor, low, sum[row].low);
			sum[row].high = multiply_add(factor, high, sum[row].high);
		}
	}
	UNROLL
	for (int row = 0; row < BLOCK_ROWS; row++) {
		struct pair v;

		if (n + row >= t->rows)
			break;
		v = lora_base(t, (n + row) * t->w_step + k, in);
		v.low = doubles_add(v.low, doubles_multiply(scale, sum[row].low));
		v.high = doubles_add(v.high, doubles_multiply(scale, sum[row].high));
		lora_store((char *)t->dst + (n + row) * t->dst_step + (size_t)k * lora_size(out), v, t->columns - k,
		    out);
	}
}

ALWAYS_INLINE void lora_rows(const struct lora_tile *t, enum dtype in, enum dtype out)
{
	for (uint32_t n = 0; n < t->rows; n += BLOCK_ROWS)
		for (uint32_t k = 0; k < t->columns; k += WIDTH)
			lora_block(t, n, k, in, out);
}

/* ---- DoRA ---- */

/* The 16 partial sums: those of a vector are added in a row, whatever its length. */
ALWAYS_INLINE double dora_square_sum(const double *v, size_t n)
{
	double p[LORA_COLUMNS], rest[LORA_COLUMNS] = {0};
	doubles sum[LORA_COLUMNS / LANES];
	size_t k = 0;

	UNROLL
	for (int j = 0; j < LORA_COLUMNS / LANES; j++)
		sum[j] = doubles_all(0);
	for (; k + LORA_COLUMNS <= n; k += LORA_COLUMNS) {
		UNROLL
		for (int j = 0; j < LORA_COLUMNS / LANES; j++) {
			const doubles x = doubles_load(v + k + j * LANES);

			sum[j] = doubles_add(sum[j], doubles_multiply(x, x));
		}
	}
	UNROLL
	for (int j = 0; j < LORA_COLUMNS / LANES; j++)
		doubles_store(p + j * LANES, sum[j]);
	if (k < n)
		memcpy(rest, v + k, (n - k) * sizeof(*v));
	for (int j = 0; j < LORA_COLUMNS; j++)
		p[j] += rest[j] * rest[j];
	for (int half = LORA_COLUMNS / 2; half; half /= 2)
		for (int j = 0; j < half; j++)
			p[j] += p[j + half];
	return p[0];
}

ALWAYS_INLINE void dora_row(void *dst, const double *v, size_t n, double magnitude, enum dtype out)
{
	const doubles f = doubles_all(magnitude / sqrt(dora_square_sum(v, n)));
	double rest[WIDTH] = {0};

	for (size_t k = 0; k < n; k += WIDTH) {
		const uint32_t there = n - k < WIDTH ? (uint32_t)(n - k) : WIDTH;
		const double *from = v + k;
		struct pair x;

		if (there < WIDTH)
			from = memcpy(rest, from, there * sizeof(*v));
		x = (struct pair){doubles_load(from), doubles_load(from + LANES)};
		x.low = doubles_multiply(f, x.low);
		x.high = doubles_multiply(f, x.high);
		lora_store((char *)dst + k * lora_size(out), x, there, out);
	}
}

#include "kernel/lora/lora_table.h"
