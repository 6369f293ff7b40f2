/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_NIBBLES_AVX512_H
#define GPTQFS_NIBBLES_AVX512_H

/* The 16 entries of a table are one register, from which one instruction looks up a whole cache line. */

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

#include "kernel/simd/avx512.h"
#include "kernel/simd/nibbles.h"

/* Outputs of 16 bits are there twice, so that the bit above a code does not matter. */
struct nibble_table {
	__m512i entry;
};

/* In the lowest bits of 16 each; the bits above do not matter. */
typedef __m512i nibble_codes;

ALWAYS_INLINE void nibble_table_build(struct nibble_table *table, float zero, float scale, struct nibble_kind kind)
{
	const __m512 code = _mm512_setr_ps(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	const __m512 z = _mm512_set1_ps(zero), s = _mm512_set1_ps(scale);
	__m512 value = kind.plus ? _mm512_add_ps(_mm512_mul_ps(code, s), z) : _mm512_mul_ps(_mm512_sub_ps(code, z), s);

	if (!kind.finite)
		value = canonical_nan(value);
	if (kind.out == DTYPE_F32)
		table->entry = _mm512_castps_si512(value);
	else
		table->entry = table16(value, kind.out);
}

/* Expands 16 codes to fp32. */
ALWAYS_INLINE void nibble_expand_float(char *dst, __m256i codes, const struct nibble_table *table, uint32_t count)
{
	const __m512i out = _mm512_permutexvar_epi32(_mm512_cvtepu16_epi32(codes), table->entry);

	if (count >= 16)
		_mm512_storeu_si512(dst, out);
	else
		_mm512_mask_storeu_epi32(dst, (__mmask16)((1u << count) - 1), out);
}

ALWAYS_INLINE void nibble_expand(char *dst, nibble_codes codes, const struct nibble_table *table, uint32_t count,
    enum dtype out)
{
	if (out == DTYPE_F32) {
		nibble_expand_float(dst, _mm512_castsi512_si256(codes), table, count);
		if (count > 16)
			nibble_expand_float(dst + 64, _mm512_extracti64x4_epi64(codes, 1), table, count - 16);
	} else if (count == NIBBLE_CODES) {
		_mm512_storeu_si512(dst, _mm512_permutexvar_epi16(codes, table->entry));
	} else {
		_mm512_mask_storeu_epi16(dst, (1u << count) - 1, _mm512_permutexvar_epi16(codes, table->entry));
	}
}

ALWAYS_INLINE void nibble_floats(float *to, const unsigned char *src, uint32_t n, enum dtype dtype)
{
	const __mmask8 there = (__mmask8)(0xff >> (NIBBLE_RUN - n));
	__m256 value;

	if (dtype == DTYPE_F32)
		value = _mm256_maskz_loadu_ps(there, src);
	else if (dtype == DTYPE_F16)
		value = _mm256_cvtph_ps(_mm_maskz_loadu_epi16(there, src));
	else
		value = _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_maskz_loadu_epi16(there, src)),
		    16));
	_mm256_storeu_ps(to, value);
}

#endif

#endif
