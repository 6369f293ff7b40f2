/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_AVX2_H
#define GPTQFS_AVX2_H

/* Rounding as the contracts require, for AVX2 and F16C. */

#if defined(__AVX2__) && defined(__F16C__)

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kernel/simd/inline.h"

ALWAYS_INLINE __m256 canonical_nan(__m256 value)
{
	const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));

	return _mm256_blendv_ps(value, nan, _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
}

/* Rounds to nearest even with integers, bf16 in the upper half; a canonical NaN stays canonical. */
ALWAYS_INLINE __m256i round_bf16(__m256 value)
{
	const __m256i bits = _mm256_castps_si256(value);
	const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));

	return _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
}

/* Converts 8 values, with canonical NaNs, to fp16 or bf16. The instruction sets the rounding mode. */
ALWAYS_INLINE __m128i round16(__m256 value, enum dtype out)
{
	__m256i bits;

	if (out == DTYPE_F16)
		return _mm256_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT);
	bits = _mm256_srli_epi32(round_bf16(value), 16);
	return _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
}

/* The low and the high bytes of 16 outputs, each in both lanes: the only look-up of 16 entries is of bytes. */
struct byte_tables {
	__m256i low, high;
};

/* Rounds the values of codes 0 to 7 and 8 to 15, with canonical NaNs. */
ALWAYS_INLINE struct byte_tables byte_tables_of(__m256 first, __m256 last, enum dtype out)
{
	const __m256i apart =
	    _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15));
	__m256i low = _mm256_setr_epi32(0, 1, 4, 5, 0, 1, 4, 5), high = _mm256_setr_epi32(2, 3, 6, 7, 2, 3, 6, 7), both;

	if (out == DTYPE_F16) {
		both = _mm256_set_m128i(round16(last, out), round16(first, out));
	} else { /* codes 0 to 3, 8 to 11, 4 to 7, 12 to 15 */
		both = _mm256_packus_epi32(_mm256_srli_epi32(round_bf16(first), 16),
		    _mm256_srli_epi32(round_bf16(last), 16));
		low = _mm256_setr_epi32(0, 4, 1, 5, 0, 4, 1, 5);
		high = _mm256_setr_epi32(2, 6, 3, 7, 2, 6, 3, 7);
	}
	both = _mm256_shuffle_epi8(both, apart);
	return (struct byte_tables){_mm256_permutevar8x32_epi32(both, low), _mm256_permutevar8x32_epi32(both, high)};
}

/* The even and the odd ones of 16 elements. */
struct floats16 {
	__m256 even, odd;
};

/* Stores 16 elements in order, with canonical NaNs. */
ALWAYS_INLINE void floats16_store(char *dst, struct floats16 value, enum dtype out)
{
	if (out == DTYPE_BF16) {
		const __m256i even = _mm256_srli_epi32(round_bf16(value.even), 16), odd = round_bf16(value.odd);

		_mm256_storeu_si256((__m256i_u *)dst, _mm256_blend_epi16(even, odd, 0xaa));
	} else if (out == DTYPE_F16) {
		const __m128i even = round16(value.even, out), odd = round16(value.odd, out);

		_mm_storeu_si128((__m128i_u *)dst, _mm_unpacklo_epi16(even, odd));
		_mm_storeu_si128((__m128i_u *)(dst + 16), _mm_unpackhi_epi16(even, odd));
	} else {
		const __m256 low = _mm256_unpacklo_ps(value.even, value.odd);
		const __m256 high = _mm256_unpackhi_ps(value.even, value.odd);

		_mm256_storeu_ps((float *)dst, _mm256_permute2f128_ps(low, high, 0x20));
		_mm256_storeu_ps((float *)(dst + 32), _mm256_permute2f128_ps(low, high, 0x31));
	}
}

/* Decodes 32 codes with a scale and an offset each: (code - offset) * scale, or with `biases` code * scale + offset. */
ALWAYS_INLINE void decode_each32(char *dst, const uint8_t *code, const float *scale, const float *offset, bool biases,
    enum dtype out)
{
	UNROLL
	for (unsigned i = 0; i < 32; i += 8) {
		const __m256 wide =
		    _mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)(code + i))));
		const __m256 s = _mm256_loadu_ps(scale + i), o = _mm256_loadu_ps(offset + i);
		const __m256 value = canonical_nan(biases ? _mm256_add_ps(_mm256_mul_ps(wide, s), o)
							  : _mm256_mul_ps(_mm256_sub_ps(wide, o), s));

		if (out == DTYPE_F32)
			_mm256_storeu_ps((float *)(dst + (size_t)i * 4), value);
		else
			_mm_storeu_si128((__m128i_u *)(dst + (size_t)i * 2), round16(value, out));
	}
}

#endif

#endif
