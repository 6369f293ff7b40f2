/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_NIBBLES_AVX2_H
#define GPTQFS_NIBBLES_AVX2_H

#if defined(__AVX2__) && defined(__F16C__)

#include <string.h>

#include "kernel/simd/avx2.h"
#include "kernel/simd/nibbles.h"

/* The bytes of the outputs, each in both lanes; or the first eight outputs as fp32, and the others. */
struct nibble_table {
	__m256i low, high;
};

/* A byte each: 0 to 7, 16 to 23, 8 to 15, 24 to 31, which interleaving undoes. */
typedef __m256i nibble_codes;

ALWAYS_INLINE __m256 nibble_value(float first, float zero, float scale, struct nibble_kind kind)
{
	const __m256 code = _mm256_add_ps(_mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7), _mm256_set1_ps(first));
	const __m256 z = _mm256_set1_ps(zero), s = _mm256_set1_ps(scale);
	const __m256 value =
	    kind.plus ? _mm256_add_ps(_mm256_mul_ps(code, s), z) : _mm256_mul_ps(_mm256_sub_ps(code, z), s);

	return kind.finite ? value : canonical_nan(value);
}

ALWAYS_INLINE void nibble_table_build(struct nibble_table *table, float zero, float scale, struct nibble_kind kind)
{
	const __m256 first = nibble_value(0, zero, scale, kind), second = nibble_value(8, zero, scale, kind);

	if (kind.out == DTYPE_F32) {
		table->low = _mm256_castps_si256(first);
		table->high = _mm256_castps_si256(second);
	} else {
		const struct byte_tables bytes = byte_tables_of(first, second, kind.out);

		table->low = bytes.low;
		table->high = bytes.high;
	}
}

/* Expands the eight codes in the lower half of `codes` to fp32. */
ALWAYS_INLINE void nibble_expand_float(char *dst, __m128i codes, const struct nibble_table *table)
{
	const __m256i code = _mm256_cvtepu8_epi32(codes);
	const __m256 low = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(table->low, code));
	const __m256 high = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(table->high, code));

	_mm256_storeu_ps((float *)dst, _mm256_blendv_ps(low, high, _mm256_castsi256_ps(_mm256_slli_epi32(code, 28))));
}

ALWAYS_INLINE void nibble_expand_all(char *dst, nibble_codes codes, const struct nibble_table *table, enum dtype out)
{
	if (out == DTYPE_F32) {
		const __m128i a = _mm256_castsi256_si128(codes), b = _mm256_extracti128_si256(codes, 1);

		nibble_expand_float(dst, a, table);
		nibble_expand_float(dst + 32, b, table);
		nibble_expand_float(dst + 64, _mm_unpackhi_epi64(a, a), table);
		nibble_expand_float(dst + 96, _mm_unpackhi_epi64(b, b), table);
	} else {
		const __m256i low = _mm256_shuffle_epi8(table->low, codes),
			      high = _mm256_shuffle_epi8(table->high, codes);

		_mm256_storeu_si256((__m256i_u *)dst, _mm256_unpacklo_epi8(low, high));
		_mm256_storeu_si256((__m256i_u *)(dst + 32), _mm256_unpackhi_epi8(low, high));
	}
}

ALWAYS_INLINE void nibble_expand(char *dst, nibble_codes codes, const struct nibble_table *table, uint32_t count,
    enum dtype out)
{
	char spare[NIBBLE_CODES * sizeof(float)];

	if (count == NIBBLE_CODES) {
		nibble_expand_all(dst, codes, table, out);
		return;
	}
	nibble_expand_all(spare, codes, table, out);
	memcpy(dst, spare, count * out_bytes(out));
}

ALWAYS_INLINE void nibble_floats(float *to, const unsigned char *src, uint32_t n, enum dtype dtype)
{
	const size_t size = dtype == DTYPE_F32 ? 4 : 2;
	unsigned char copy[NIBBLE_RUN * sizeof(float)] = {0};

	if (n < NIBBLE_RUN)
		src = memcpy(copy, src, n * size);
	if (dtype == DTYPE_F32)
		memcpy(to, src, NIBBLE_RUN * size);
	else if (dtype == DTYPE_F16)
		_mm256_storeu_ps(to, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)src)));
	else
		_mm256_storeu_si256((__m256i_u *)to,
		    _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i_u *)src)), 16));
}

#endif

#endif
