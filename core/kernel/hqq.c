/* SPDX-License-Identifier: MIT */

/* The C reference: plain on purpose, since every kernel is compared with it. */

#include "kernel/hqq.h"

#include <string.h>

#include "kernel/reference.h"

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

DEFINE_REFERENCE(hqq, hqq_tensor, hqq_weight)

hqq_fn *const hqq_reference[DTYPE_VIEWS] = {hqq_f16, hqq_bf16, hqq_f32};

void hqq_init(struct hqq_dsp *dsp)
{
	memcpy(dsp->rows, hqq_reference, sizeof(dsp->rows));
}
