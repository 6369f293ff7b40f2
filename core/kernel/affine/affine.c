/* SPDX-License-Identifier: MIT */

/* The C reference: deliberately plain, since every kernel is compared with it. */

#include "kernel/affine/affine.h"

#include <string.h>

#include "kernel/reference.h"

/* Field i of words that lie `stride` bytes apart. A row of a stream may end at any byte, so it reads bytes. */
static uint32_t affine_field(const struct affine_matrix *m, const unsigned char *words, size_t stride, uint32_t i)
{
	const unsigned per_word = 32 / m->bits;
	const uint64_t bit =
	    m->packing == AFFINE_WORDS ? (uint64_t)(i / per_word) * 32 + i % per_word * m->bits : (uint64_t)i * m->bits;
	const size_t byte = bit / 8, next = byte + 1;
	uint32_t field = words[byte / 4 * stride + byte % 4];

	if (bit % 8 + m->bits > 8)
		field |= (uint32_t)words[next / 4 * stride + next % 4] << 8;
	return field >> bit % 8 & ((1u << m->bits) - 1);
}

uint32_t affine_code(const struct affine_matrix *m, uint32_t n, uint32_t k)
{
	const unsigned char *row = m->codes + n * m->row_bytes;

	return m->packing == AFFINE_SIGNED ? row[k] ^ 0x80u : affine_field(m, row, 4, k);
}

int32_t affine_zero(const struct affine_matrix *m, uint32_t n, uint32_t g)
{
	const int32_t middle = 1 << (m->bits - 1);

	if (m->offset == AFFINE_ZEROS_PACKED)
		return (int32_t)affine_field(m, m->offsets + (size_t)g * 4, (size_t)m->groups * 4, n);
	if (m->offset == AFFINE_ZEROS_SIGNED)
		return (int8_t)m->offsets[affine_scale_index(m, n, g)] + middle;
	return middle;
}

/* The contract, except for the last rounding. */
static float affine_weight(const struct affine_matrix *m, uint32_t n, uint32_t k)
{
	const uint32_t g = affine_group(m, k);
	const int32_t code = (int32_t)affine_code(m, n, k);
	const float scale = element_load(m->scales, affine_scale_index(m, n, g), m->scale_dtype);

	if (m->offset == AFFINE_BIASES)
		return scale * (float)code + element_load(m->offsets, affine_scale_index(m, n, g), m->scale_dtype);
	return scale * (float)(code - affine_zero(m, n, g));
}

DEFINE_REFERENCE(affine, affine_matrix, affine_weight)

affine_fn *const affine_reference[DTYPE_VIEWS] = {affine_f16, affine_bf16, affine_f32};

void affine_init(struct affine_dsp *dsp)
{
	memcpy(dsp->rows, affine_reference, sizeof(dsp->rows));
}
