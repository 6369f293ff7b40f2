/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LEVELS_AVX2_H
#define GPTQFS_LEVELS_AVX2_H

/* Levels, as struct gguf_row has them, for AVX2. */

#if defined(__AVX2__)

#include <immintrin.h>
#include <stdint.h>

#include "kernel/simd/inline.h"

/* Returns 16 levels plus `add` as integers of 16 bits. */
ALWAYS_INLINE __m256i load_levels(const uint16_t *level, int add)
{
	const __m256i half = _mm256_loadu_si256((const __m256i_u *)level);
	const __m256i sign = _mm256_srai_epi16(half, 15);
	const __m256i magnitude = _mm256_and_si256(half, _mm256_set1_epi16(0x7fff));

	return _mm256_add_epi16(_mm256_sub_epi16(_mm256_xor_si256(magnitude, sign), sign),
	    _mm256_set1_epi16((short)add));
}

#endif

#endif
