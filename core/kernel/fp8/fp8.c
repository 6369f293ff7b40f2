/* SPDX-License-Identifier: MIT */

/* The C reference: deliberately plain, since every kernel is compared with it. */

#include "kernel/fp8/fp8.h"

#include <string.h>

#include "kernel/reference.h"

/* The contract, except for the last rounding. */
static float fp8_weight(const struct fp8_tensor *t, uint32_t n, uint32_t k)
{
	const size_t grid_columns = (t->columns - 1) / t->block_columns + 1;
	const size_t block = n / t->block_rows * grid_columns + k / t->block_columns;
	const float value = element_load(t->codes, (size_t)n * t->columns + k, t->code_dtype);
	const float scale = element_load(t->scales, block, t->scale_dtype);

	return t->divide ? value / scale : value * scale;
}

DEFINE_REFERENCE(fp8, fp8_tensor, fp8_weight)

void fp8_init(struct fp8_dsp *dsp)
{
	static fp8_fn *const rows[DTYPE_VIEWS] = {fp8_f16, fp8_bf16, fp8_f32};

	memcpy(dsp->rows, rows, sizeof(rows));
}
