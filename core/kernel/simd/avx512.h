/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_AVX512_H
#define GPTQFS_AVX512_H

/* Rounding as the contracts require, for AVX-512 F, BW, DQ and VL. */

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)

#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kernel/simd/inline.h"

ALWAYS_INLINE __m512 canonical_nan(__m512 value)
{
	const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);

	return _mm512_mask_mov_ps(value, nan, _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000)));
}

/* Rounds to nearest even, bf16 in the upper half; a canonical NaN is kept. (VCVTNEPS2BF16 flushes subnormals.) */
ALWAYS_INLINE __m512i round_bf16(__m512 value)
{
	const __m512i bits = _mm512_castps_si512(value), up = _mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff));

	return _mm512_mask_add_epi32(up, _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x10000)), up,
	    _mm512_set1_epi32(1));
}

/* Converts 16 values, with canonical NaNs, to fp16 or bf16. The instruction sets the rounding mode. */
ALWAYS_INLINE __m256i round16(__m512 value, enum dtype out)
{
	if (out == DTYPE_F16)
		return _mm512_cvtps_ph(value, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
	return _mm512_cvtepi32_epi16(_mm512_srli_epi32(round_bf16(value), 16));
}

/* The same for 32 of them. */
ALWAYS_INLINE __m512i round16x2(__m512 low, __m512 high, enum dtype out)
{
	static const uint16_t odd[32] __attribute__((aligned(64))) = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27,
	    29, 31, 33, 35, 37, 39, 41, 43, 45, 47, 49, 51, 53, 55, 57, 59, 61, 63};

	if (out == DTYPE_F16)
		return _mm512_inserti64x4(_mm512_castsi256_si512(round16(low, out)), round16(high, out), 1);
	return _mm512_permutex2var_epi16(round_bf16(low), _mm512_load_si512(odd), round_bf16(high));
}

/*
 * Rounds 16 values, with canonical NaNs, to a table of 16-bit outputs that is there twice, so that the bit above an
 * index does not matter.
 */
ALWAYS_INLINE __m512i table16(__m512 value, enum dtype out)
{
	static const uint16_t odd[32] __attribute__((aligned(64))) = {1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27,
	    29, 31, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31};

	if (out == DTYPE_F16)
		return _mm512_broadcast_i64x4(round16(value, out));
	return _mm512_permutexvar_epi16(_mm512_load_si512(odd), round_bf16(value));
}

struct floats32 {
	__m512 low, high;
};

/* Stores the masked ones of 32 elements, or all of them as a whole cache line. */
ALWAYS_INLINE void floats32_store(char *dst, struct floats32 value, __mmask32 there, enum dtype out)
{
	if (out != DTYPE_F32) {
		_mm512_mask_storeu_epi16(dst, there, round16x2(value.low, value.high, out));
		return;
	}
	_mm512_mask_storeu_ps(dst, (__mmask16)there, value.low);
	_mm512_mask_storeu_ps(dst + 64, (__mmask16)(there >> 16), value.high);
}

/* Decodes 32 codes with a scale and an offset each: (code - offset) * scale, or with `biases` code * scale + offset. */
ALWAYS_INLINE void decode_each32(char *dst, const uint8_t *code, const float *scale, const float *offset, bool biases,
    enum dtype out)
{
	__m512 value[2];

	UNROLL
	for (unsigned i = 0; i < 2; i++) {
		const __m512 wide =
		    _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)code + i)));
		const __m512 s = _mm512_loadu_ps(scale + (size_t)i * 16), o = _mm512_loadu_ps(offset + (size_t)i * 16);

		value[i] = canonical_nan(biases ? _mm512_add_ps(_mm512_mul_ps(wide, s), o)
						: _mm512_mul_ps(_mm512_sub_ps(wide, o), s));
	}
	floats32_store(dst, (struct floats32){value[0], value[1]}, ~0u, out);
}

#endif

#endif
