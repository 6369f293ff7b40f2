/* SPDX-License-Identifier: MIT */

/* AVX-512 F, BW, DQ, VL: 32 bytes are widened to 16 bits each, and looked up. */

#if defined(__x86_64__)

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "compile with -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#include "kernel/simd/nibbles_avx512.h"

#include "kernel/hqq/hqq_groups.h"

ALWAYS_INLINE nibble_codes hqq_codes(const unsigned char *src, unsigned shift, unsigned mask)
{
	const __m512i bytes = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i_u *)src));

	return _mm512_and_si512(_mm512_srlv_epi16(bytes, _mm512_set1_epi16((short)shift)),
	    _mm512_set1_epi16((short)mask));
}

void hqq_init_avx512(struct hqq_dsp *dsp)
{
	hqq_install(dsp);
}

#endif
