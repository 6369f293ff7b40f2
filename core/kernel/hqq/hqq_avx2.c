/* SPDX-License-Identifier: MIT */

/* AVX2 and F16C: codes stay bytes, in the order that interleaving undoes. */

#if defined(__x86_64__)

#if !defined(__AVX2__) || !defined(__F16C__)
#error "compile with -mavx2 -mf16c"
#endif

#include "kernel/simd/nibbles_avx2.h"

#include "kernel/hqq/hqq_groups.h"

ALWAYS_INLINE nibble_codes hqq_codes(const unsigned char *src, unsigned shift, unsigned mask)
{
	const __m256i bytes = _mm256_permute4x64_epi64(_mm256_loadu_si256((const __m256i_u *)src), 0xd8);

	return _mm256_and_si256(_mm256_srl_epi16(bytes, _mm_cvtsi32_si128((int)shift)), _mm256_set1_epi8((char)mask));
}

void hqq_init_avx2(struct hqq_dsp *dsp)
{
	hqq_install(dsp);
}

#endif
