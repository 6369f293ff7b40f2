/* SPDX-License-Identifier: MIT */

/* The C reference: plain on purpose, since every kernel is compared with it. */

#include "kernel/hqq.h"

#include <string.h>

#include "kernel/element.h"

static uint32_t hqq_code(const struct hqq_tensor *t, uint64_t row, uint64_t column)
{
	const unsigned shift = (t->lanes - 1 - (unsigned)(row / t->slice)) * t->bits;
	uint32_t word = 0;

	memcpy(&word, t->codes + (row % t->slice * t->width + column) * t->word_bytes, t->word_bytes);
	return word >> shift & ((1u << t->bits) - 1);
}

/* The contract, but for the last rounding. */
static float hqq_weight(const struct hqq_tensor *t, uint32_t n, uint32_t k)
{
	const uint64_t element = (uint64_t)n * t->columns + k, row = element / t->width, column = element % t->width;
	const size_t group = t->by_columns ? column : row;
	const float level = (float)hqq_code(t, row, column) - element_load(t->zeros, group, t->param_dtype);

	return level * element_load(t->scales, group, t->param_dtype);
}

static void hqq_rect(void *dst, const struct hqq_tensor *t, const struct kernel_rect *r, enum dtype out)
{
	size_t i = 0;

	for (uint32_t n = r->row0; n < r->row0 + r->rows; n++)
		for (uint32_t k = r->column0; k < r->column0 + r->columns; k++)
			element_store(dst, i++, hqq_weight(t, n, k), out);
}

static void hqq_f16(void *dst, const struct hqq_tensor *t, const struct kernel_rect *r)
{
	hqq_rect(dst, t, r, DTYPE_F16);
}

static void hqq_bf16(void *dst, const struct hqq_tensor *t, const struct kernel_rect *r)
{
	hqq_rect(dst, t, r, DTYPE_BF16);
}

static void hqq_f32(void *dst, const struct hqq_tensor *t, const struct kernel_rect *r)
{
	hqq_rect(dst, t, r, DTYPE_F32);
}

hqq_fn *const hqq_reference[DTYPE_VIEWS] = {hqq_f16, hqq_bf16, hqq_f32};

void hqq_init(struct hqq_dsp *dsp)
{
	memcpy(dsp->rows, hqq_reference, sizeof(dsp->rows));
}
