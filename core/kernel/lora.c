/* SPDX-License-Identifier: MIT */

/* The C reference: plain on purpose, since every kernel is compared with it. */

#include "kernel/lora.h"

#include <math.h>
#include <string.h>

#include "kernel/element.h"

/* ---- panels ---- */

#define RUN 256 /* elements that are cast at a time */

size_t lora_panel_size(const struct lora_piece *p)
{
	return (size_t)(p->count + p->width - 1) / p->width * p->rank * p->width;
}

/*
 * put_across_TYPE: elements [from, from + n) of one i, which lie side by side in the blocks of the panel as well.
 * put_along_TYPE: elements [from, from + n) of one row or column.
 */
#define DEFINE_PUT(type)                                                                                               \
	static void put_across_##type(type *panel, const struct lora_piece *p, const uint32_t at[2], const float *run, \
	    uint32_t n)                                                                                                \
	{                                                                                                              \
		for (uint32_t x = at[0], end = x + n; x < end; x += p->width) {                                        \
			type *block = panel + ((size_t)(x / p->width) * p->rank + at[1]) * p->width;                   \
			const uint32_t count = end - x < p->width ? end - x : p->width;                                \
                                                                                                                       \
			for (uint32_t k = 0; k < count; k++)                                                           \
				block[k] = *run++;                                                                     \
		}                                                                                                      \
	}                                                                                                              \
                                                                                                                       \
	static void put_along_##type(type *panel, const struct lora_piece *p, const uint32_t at[2], const float *run,  \
	    uint32_t n)                                                                                                \
	{                                                                                                              \
		type *to = panel + ((size_t)(at[0] / p->width) * p->rank + at[1]) * p->width + at[0] % p->width;       \
                                                                                                                       \
		for (uint32_t i = 0; i < n; i++)                                                                       \
			to[(size_t)i * p->width] = run[i];                                                             \
	}

DEFINE_PUT(double)
DEFINE_PUT(float)

static void put_across(void *panel, const struct lora_piece *p, const uint32_t at[2], const float *run, uint32_t n)
{
	if (p->floats)
		put_across_float(panel, p, at, run, n);
	else
		put_across_double(panel, p, at, run, n);
}

static void put_along(void *panel, const struct lora_piece *p, const uint32_t at[2], const float *run, uint32_t n)
{
	if (p->floats)
		put_along_float(panel, p, at, run, n);
	else
		put_along_double(panel, p, at, run, n);
}

/* Elements of one i, or of one row or column, lie side by side: cast together, then put in place. RUN is a multiple of
 * every width. */
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

/* The contract, but for the last rounding. */
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

static inline void lora_reference(const struct lora_tile *t, bool doubles, enum dtype out)
{
	for (uint32_t n = 0; n < t->rows; n++)
		for (uint32_t k = 0; k < t->columns; k++)
			store_double((char *)t->dst + n * t->dst_step, k, lora_value(t, n, k, doubles), out);
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

static inline void dora_reference(void *dst, const double *v, size_t n, double magnitude, enum dtype out)
{
	const double f = magnitude / sqrt(square_sum(v, n));

	for (size_t k = 0; k < n; k++)
		store_double(dst, k, f * v[k], out);
}

/* Defines lora_OUT, lora_again_OUT and dora_OUT. */
#define DEFINE_LORA(name, out)                                   \
	static void lora_##name(const struct lora_tile *t)       \
	{                                                        \
		lora_reference(t, false, out);                   \
	}                                                        \
                                                                 \
	static void lora_again_##name(const struct lora_tile *t) \
	{                                                        \
		lora_reference(t, true, out);                    \
	}

#define DEFINE_DORA(name, out)                                                          \
	static void dora_##name(void *dst, const double *v, size_t n, double magnitude) \
	{                                                                               \
		dora_reference(dst, v, n, magnitude, out);                              \
	}

DEFINE_LORA(f16, DTYPE_F16)
DEFINE_LORA(bf16, DTYPE_BF16)
DEFINE_LORA(f32, DTYPE_F32)
DEFINE_LORA(f64, DTYPE_F64)
DEFINE_DORA(f16, DTYPE_F16)
DEFINE_DORA(bf16, DTYPE_BF16)
DEFINE_DORA(f32, DTYPE_F32)

void lora_init(struct lora_dsp *dsp)
{
	*dsp = (struct lora_dsp){
	    .merge = {{lora_f16, lora_bf16, lora_f32, lora_f64},
		{lora_again_f16, lora_again_bf16, lora_again_f32, lora_again_f64}},
	    .dora = {dora_f16, dora_bf16, dora_f32},
	};
}
