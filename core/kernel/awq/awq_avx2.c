/* SPDX-License-Identifier: MIT */

/* AVX2 and F16C: halves of words change places in registers of 16, and are then taken apart into bytes. */

#if defined(__x86_64__)

#if !defined(__AVX2__) || !defined(__F16C__)
#error "compile with -mavx2 -mf16c"
#endif

#include "kernel/simd/nibbles_avx2.h"

/* The low and the high bytes of half h of the words of 32 rows, in the order of nibble_codes. */
struct awq_block {
	__m256i low[8], high[8];
};

#include "kernel/awq/awq_tiles.h"

/* In each 128-bit lane, 8 rows of 8 halves become 8 halves of 8 rows. */
ALWAYS_INLINE void awq_transpose(__m256i to[8], const __m256i row[8])
{
	__m256i pair[8], four[8];

	UNROLL
	for (unsigned i = 0; i < 8; i += 2) {
		pair[i] = _mm256_unpacklo_epi16(row[i], row[i + 1]);
		pair[i + 1] = _mm256_unpackhi_epi16(row[i], row[i + 1]);
	}
	UNROLL
	for (unsigned i = 0; i < 8; i += 4) {
		four[i] = _mm256_unpacklo_epi32(pair[i], pair[i + 2]);
		four[i + 1] = _mm256_unpackhi_epi32(pair[i], pair[i + 2]);
		four[i + 2] = _mm256_unpacklo_epi32(pair[i + 1], pair[i + 3]);
		four[i + 3] = _mm256_unpackhi_epi32(pair[i + 1], pair[i + 3]);
	}
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		to[2 * i] = _mm256_unpacklo_epi64(four[i], four[i + 4]);
		to[2 * i + 1] = _mm256_unpackhi_epi64(four[i], four[i + 4]);
	}
}

/* 16 rows: i and i + 8 are in the lanes of one register. */
ALWAYS_INLINE void awq_load_half(__m256i to[8], const unsigned char *src)
{
	__m256i row[8];

	UNROLL
	for (unsigned i = 0; i < 8; i++) {
		const __m128i *at = (const __m128i *)(src + i * AWQ_LINE), *later = at + 8 * AWQ_LINE / 16;

		row[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_load_si128(at)), _mm_load_si128(later), 1);
	}
	awq_transpose(to, row);
}

ALWAYS_INLINE void awq_load(struct awq_block *to, const unsigned char *src)
{
	const __m256i byte = _mm256_set1_epi16(0xff);
	__m256i first[8], second[8];

	awq_load_half(first, src);
	awq_load_half(second, src + (size_t)16 * AWQ_LINE);
	UNROLL
	for (unsigned h = 0; h < 8; h++) {
		to->low[h] = _mm256_packus_epi16(_mm256_and_si256(first[h], byte), _mm256_and_si256(second[h], byte));
		to->high[h] = _mm256_packus_epi16(_mm256_srli_epi16(first[h], 8), _mm256_srli_epi16(second[h], 8));
	}
}

ALWAYS_INLINE nibble_codes awq_column(const struct awq_block *block, uint32_t word, unsigned i)
{
	const __m256i bytes = i < 4 ? block->low[word * 2 + i % 2] : block->high[word * 2 + i % 2];

	return _mm256_and_si256(i / 2 % 2 ? _mm256_srli_epi16(bytes, 4) : bytes, _mm256_set1_epi8(15));
}

ALWAYS_INLINE nibble_codes awq_row_codes(const unsigned char *src)
{
	const __m128i bytes = _mm_loadu_si128((const __m128i_u *)src), mask = _mm_set1_epi8(15);
	const __m128i even = _mm_and_si128(bytes, mask), odd = _mm_and_si128(_mm_srli_epi16(bytes, 4), mask);
	const __m128i first = _mm_unpacklo_epi8(even, odd), second = _mm_unpackhi_epi8(even, odd);

	return _mm256_set_m128i(_mm_unpackhi_epi64(first, second), _mm_unpacklo_epi64(first, second));
}

/* Input 8b + j is in nibble b of word j. */
ALWAYS_INLINE nibble_codes awq_fast_codes(const unsigned char *src)
{
	const __m128i words = _mm_loadu_si128((const __m128i_u *)src);
	const __m256i both = _mm256_set_m128i(_mm_srli_epi16(words, 4), words), mask = _mm256_set1_epi16(15);

	return _mm256_packus_epi16(_mm256_and_si256(both, mask), _mm256_and_si256(_mm256_srli_epi16(both, 8), mask));
}

void awq_init_avx2(struct awq_dsp *dsp)
{
	awq_install(dsp);
}

#endif
