/* SPDX-License-Identifier: MIT */

/* The C reference: deliberately plain, since every kernel is compared with it. */

#include "kernel/fp4/fp4.h"

#include <string.h>

#include "kernel/reference.h"

static float fp4_code(const struct fp4_tensor *t, uint32_t n, uint32_t k)
{
	const unsigned bits = dtype_bits(t->code_dtype);
	const size_t first = ((size_t)n * t->columns + k) * bits;
	uint32_t code = 0;

	for (unsigned i = 0; i < bits; i++)
		code |= (t->codes[(first + i) / 8] >> (first + i) % 8 & 1u) << i;
	return float_of_e2(code, bits - 3);
}

/* The contract, except for the last rounding. */
static float fp4_weight(const struct fp4_tensor *t, uint32_t n, uint32_t k)
{
	float scale = element_load(t->scales, (size_t)n * (t->columns / t->group) + k / t->group, t->scale_dtype);

	if (t->global && t->divide)
		scale /= element_load(t->global, 0, DTYPE_F32);
	else if (t->global)
		scale *= element_load(t->global, 0, DTYPE_F32);
	return fp4_code(t, n, k) * scale;
}

static float fp4_transposed_weight(const struct fp4_tensor *t, uint32_t k, uint32_t n)
{
	return fp4_weight(t, n, k);
}

DEFINE_REFERENCE(fp4, fp4_tensor, fp4_weight)
DEFINE_REFERENCE(fp4_transposed, fp4_tensor, fp4_transposed_weight)

void fp4_init(struct fp4_dsp *dsp)
{
	static const struct fp4_dsp reference = {
	    .rows = {fp4_f16, fp4_bf16, fp4_f32},
	    .transposed = {fp4_transposed_f16, fp4_transposed_bf16, fp4_transposed_f32},
	};

	*dsp = reference;
}
