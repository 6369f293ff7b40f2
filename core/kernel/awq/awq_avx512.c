/* SPDX-License-Identifier: MIT */

/* AVX-512 F, BW, DQ, VL: a register has one half of a word for each of 32 inputs. */

#if defined(__x86_64__)

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "compile with -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#include "kernel/simd/nibbles_avx512.h"

/* Half h of the words of 32 rows, in their order. */
struct awq_block {
	__m512i half[8];
};

#include "kernel/awq/awq_tiles.h"

/* In each 128-bit lane, 8 rows of 8 halves become 8 halves of 8 rows. */
ALWAYS_INLINE void awq_transpose(__m512i to[8], const __m512i row[8])
{
	__m512i pair[8], four[8];

	UNROLL
	for (unsigned i = 0; i < 8; i += 2) {
		pair[i] = _mm512_unpacklo_epi16(row[i], row[i + 1]);
		pair[i + 1] = _mm512_unpackhi_epi16(row[i], row[i + 1]);
	}
	UNROLL
	for (unsigned i = 0; i < 8; i += 4) {
		four[i] = _mm512_unpacklo_epi32(pair[i], pair[i + 2]);
		four[i + 1] = _mm512_unpackhi_epi32(pair[i], pair[i + 2]);
		four[i + 2] = _mm512_unpacklo_epi32(pair[i + 1], pair[i + 3]);
		four[i + 3] = _mm512_unpackhi_epi32(pair[i + 1], pair[i + 3]);
	}
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		to[2 * i] = _mm512_unpacklo_epi64(four[i], four[i + 4]);
		to[2 * i + 1] = _mm512_unpackhi_epi64(four[i], four[i + 4]);
	}
}

ALWAYS_INLINE __m128i awq_load_row(const unsigned char *src, unsigned row)
{
	return _mm_load_si128((const __m128i *)(src + row * AWQ_LINE));
}

/* Rows i, i + 8, i + 16 and i + 24 are in the lanes of one register. */
ALWAYS_INLINE void awq_load(struct awq_block *to, const unsigned char *src)
{
	__m512i row[8];

	UNROLL
	for (unsigned i = 0; i < 8; i++) {
		row[i] = _mm512_castsi128_si512(awq_load_row(src, i));
		row[i] = _mm512_inserti32x4(row[i], awq_load_row(src, i + 8), 1);
		row[i] = _mm512_inserti32x4(row[i], awq_load_row(src, i + 16), 2);
		row[i] = _mm512_inserti32x4(row[i], awq_load_row(src, i + 24), 3);
	}
	awq_transpose(to->half, row);
}

ALWAYS_INLINE nibble_codes awq_column(const struct awq_block *block, uint32_t word, unsigned i)
{
	return _mm512_srli_epi16(block->half[word * 2 + i % 2], i / 2 * 4);
}

ALWAYS_INLINE nibble_codes awq_row_codes(const unsigned char *src)
{
	const __m512i pick = _mm512_setr_epi64(0x0101010100000000, 0x0303030302020202, 0x0505050504040404,
	    0x0707070706060606, 0x0909090908080808, 0x0b0b0b0b0a0a0a0a, 0x0d0d0d0d0c0c0c0c, 0x0f0f0f0f0e0e0e0e);
	const __m512i bytes = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i_u *)src));

	return _mm512_srlv_epi16(_mm512_shuffle_epi8(bytes, pick), _mm512_set1_epi32(0x00040000));
}

/* Input 8b + j is in nibble b of word j. */
ALWAYS_INLINE nibble_codes awq_fast_codes(const unsigned char *src)
{
	const __m512i words = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i_u *)src));
	const __m512i shift = _mm512_inserti64x4(_mm512_inserti32x4(_mm512_setzero_si512(), _mm_set1_epi16(4), 1),
	    _mm256_set_m128i(_mm_set1_epi16(12), _mm_set1_epi16(8)), 1);

	return _mm512_srlv_epi16(words, shift);
}

void awq_init_avx512(struct awq_dsp *dsp)
{
	awq_install(dsp);
}

#endif
