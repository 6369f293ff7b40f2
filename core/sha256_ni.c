/* SPDX-License-Identifier: MIT */

/*
 * SHA-256 by the instructions made for it. sha256rnds2 does two rounds, on the eight words as two vectors: (a b e f)
 * and (c d g h), the first of them in the highest lane; sha256msg1 and sha256msg2 are the two halves of the schedule.
 */

#include "sha256_impl.h"

#if defined(__x86_64__)

#if !defined(__SHA__) || !defined(__SSE4_1__)
#error "compile this file with -msha -msse4.1"
#endif

#include <cpuid.h>
#include <immintrin.h>

bool sha256_ni_there(void)
{
	unsigned eax, ebx, ecx, edx;

	return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_SSE4_1) &&
	       __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_SHA);
}

/* Words i to i + 3 of the schedule, from the sixteen before them. */
static inline __m128i next_words(const __m128i *w)
{
	const __m128i older = _mm_alignr_epi8(w[-1], w[-2], 4); /* w[i-7] to w[i-4] */

	return _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(w[-4], w[-3]), older), w[-1]);
}

static inline void compress(__m128i *abef, __m128i *cdgh, const unsigned char *block)
{
	const __m128i big_endian = _mm_set_epi8(12, 13, 14, 15, 8, 9, 10, 11, 4, 5, 6, 7, 0, 1, 2, 3);
	const __m128i abef_before = *abef, cdgh_before = *cdgh;
	__m128i w[16];

	for (int i = 0; i < 16; i++) {
		__m128i k = _mm_loadu_si128((const __m128i *)(sha256_constants + 4 * i));

		if (i < 4)
			w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)block + i), big_endian);
		else
			w[i] = next_words(w + i);
		k = _mm_add_epi32(k, w[i]);
		/* Two rounds turn (a b e f) into the (c d g h) of the next two. */
		*cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, k);
		*abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(k, _MM_SHUFFLE(0, 0, 3, 2)));
	}
	*abef = _mm_add_epi32(*abef, abef_before);
	*cdgh = _mm_add_epi32(*cdgh, cdgh_before);
}

void sha256_compress_ni(uint32_t s[8], const unsigned char *blocks, size_t count)
{
	__m128i abef = _mm_set_epi32((int)s[0], (int)s[1], (int)s[4], (int)s[5]);
	__m128i cdgh = _mm_set_epi32((int)s[2], (int)s[3], (int)s[6], (int)s[7]);

	for (; count; count--, blocks += 64)
		compress(&abef, &cdgh, blocks);
	s[0] = (uint32_t)_mm_extract_epi32(abef, 3);
	s[1] = (uint32_t)_mm_extract_epi32(abef, 2);
	s[4] = (uint32_t)_mm_extract_epi32(abef, 1);
	s[5] = (uint32_t)_mm_extract_epi32(abef, 0);
	s[2] = (uint32_t)_mm_extract_epi32(cdgh, 3);
	s[3] = (uint32_t)_mm_extract_epi32(cdgh, 2);
	s[6] = (uint32_t)_mm_extract_epi32(cdgh, 1);
	s[7] = (uint32_t)_mm_extract_epi32(cdgh, 0);
}

#else

bool sha256_ni_there(void)
{
	return false;
}

void sha256_compress_ni(uint32_t s[8], const unsigned char *blocks, size_t count)
{
	(void)s, (void)blocks, (void)count;
}

#endif
