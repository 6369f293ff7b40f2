/* SPDX-License-Identifier: MIT */

/* The C reference: deliberately plain, since every kernel is compared with it. */

#include "kernel/bnb/bnb.h"

#include <string.h>

#include "kernel/reference.h"

const float bnb_nf4[16] = {-1, -0x1.647362p-1f, -0x1.0cd66p-1f, -0x1.94654p-2f, -0x1.23449ap-2f, -0x1.7a6a7ep-3f,
    -0x1.74f0e2p-4f, 0, 0x1.45f5fep-4f, 0x1.4995c6p-3f, 0x1.f809bap-3f, 0x1.5a0674p-2f, 0x1.c3497p-2f, 0x1.200f56p-1f,
    0x1.722766p-1f, 1};
const float bnb_fp4[16] = {0, 0x1.555556p-8f, 0x1.555556p-1f, 1, 0x1.555556p-2f, 0.5f, 0x1.555556p-3f, 0.25f, 0,
    -0x1.555556p-8f, -0x1.555556p-1f, -1, -0x1.555556p-2f, -0.5f, -0x1.555556p-3f, -0.25f};
const float bnb8_step = 0x1.020408p-7f;

float bnb4_absmax(const struct bnb4_tensor *t, uint64_t block)
{
	float product;

	if (!t->nested_map)
		return element_load(t->absmax, block, DTYPE_F32);
	product = element_load(t->nested_map, t->absmax[block], DTYPE_F32) *
	          element_load(t->nested_absmax, block >> t->nested_log2, DTYPE_F32);
	return product + t->nested_offset;
}

/* The contract of both, except for the last rounding. */
static float bnb4_weight(const struct bnb4_tensor *t, uint32_t n, uint32_t k)
{
	const uint64_t i = (uint64_t)n * t->columns + k;
	const unsigned code = t->codes[i / 2] >> (i % 2 ? 0 : 4) & 15;

	return t->table[code] * bnb4_absmax(t, i >> t->block_log2);
}

static float bnb8_weight(const struct bnb8_tensor *t, uint32_t n, uint32_t k)
{
	const int8_t code = (int8_t)t->codes[(size_t)n * t->columns + k];
	const float product = (float)code * element_load(t->scales, n, DTYPE_F32);

	return product * bnb8_step;
}

DEFINE_REFERENCE(bnb4, bnb4_tensor, bnb4_weight)
DEFINE_REFERENCE(bnb8, bnb8_tensor, bnb8_weight)

void bnb_init(struct bnb_dsp *dsp)
{
	*dsp = (struct bnb_dsp){{bnb4_f16, bnb4_bf16, bnb4_f32}, {bnb8_f16, bnb8_bf16, bnb8_f32}};
}
