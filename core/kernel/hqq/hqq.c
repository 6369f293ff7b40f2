/* SPDX-License-Identifier: MIT */

/* The C reference: deliberately plain, since every kernel is compared with it. */

#include "kernel/hqq/hqq.h"

#include <string.h>

#include "kernel/reference.h"

uint32_t hqq_code(const struct hqq_tensor *t, uint32_t n, uint32_t k)
{
	const uint64_t element = (uint64_t)n * t->columns + k, row = element / t->width, column = element % t->width;
	const unsigned shift = (t->lanes - 1 - (unsigned)(row / t->slice)) * t->bits;
	uint32_t word = 0;

	memcpy(&word, t->codes + (row % t->slice * t->width + column) * t->word_bytes, t->word_bytes);
	return word >> shift & ((1u << t->bits) - 1);
}

size_t hqq_group_of(const struct hqq_tensor *t, uint32_t n, uint32_t k)
{
	const uint64_t element = (uint64_t)n * t->columns + k;

	return t->by_columns ? element % t->width : element / t->width;
}

/* The contract, except for the last rounding. */
static float hqq_weight(const struct hqq_tensor *t, uint32_t n, uint32_t k)
{
	const size_t group = hqq_group_of(t, n, k);
	const float level = (float)hqq_code(t, n, k) - element_load(t->zeros, group, t->param_dtype);

	return level * element_load(t->scales, group, t->param_dtype);
}

DEFINE_REFERENCE(hqq, hqq_tensor, hqq_weight)

void hqq_init(struct hqq_dsp *dsp)
{
	static hqq_fn *const rows[DTYPE_VIEWS] = {hqq_f16, hqq_bf16, hqq_f32};

	memcpy(dsp->rows, rows, sizeof(rows));
}
