/* SPDX-License-Identifier: MIT */

/* AVX2: levels become integers of 16 bits, 16 in a vector, which is half a block of 32. */

#if defined(__x86_64__)

#ifndef __AVX2__
#error "compile with -mavx2"
#endif

#include <immintrin.h>
#include <string.h>

#include "kernel/gguf/gguf.h"
#include "kernel/simd/inline.h"
#include "kernel/simd/levels_avx2.h"

/* The low bytes of 16 integers below 256. */
ALWAYS_INLINE __m128i bytes16(__m256i value)
{
	return _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi16(value, value), 0x08));
}

/* The low nibbles of the first half of a block and of the second, side by side. */
ALWAYS_INLINE __m128i nibbles(__m256i first, __m256i second)
{
	return bytes16(_mm256_or_si256(first, _mm256_slli_epi16(second, 4)));
}

static void avx2_q4_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	unsigned char *to = dst;

	for (size_t b = 0; b < blocks; b++, to += 18) {
		const uint16_t *level = w->level + b * 32;

		memcpy(to, &w->scale[b], 2);
		_mm_storeu_si128((__m128i_u *)(to + 2), nibbles(load_levels(level, 8), load_levels(level + 16, 8)));
	}
}

static void avx2_q5_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	const __m256i low = _mm256_set1_epi16(15);
	unsigned char *to = dst;

	for (size_t b = 0; b < blocks; b++, to += 22) {
		const __m256i first = load_levels(w->level + b * 32, 16),
			      second = load_levels(w->level + b * 32 + 16, 16);
		const __m256i all = _mm256_permute4x64_epi64(_mm256_packus_epi16(first, second), 0xd8);
		const int high = _mm256_movemask_epi8(_mm256_slli_epi16(all, 3));

		memcpy(to, &w->scale[b], 2);
		memcpy(to + 2, &high, 4);
		_mm_storeu_si128((__m128i_u *)(to + 6),
		    nibbles(_mm256_and_si256(first, low), _mm256_and_si256(second, low)));
	}
}

static void avx2_q8_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	unsigned char *to = dst;

	for (size_t b = 0; b < blocks; b++, to += 34) {
		const __m256i first = load_levels(w->level + b * 32, 0),
			      second = load_levels(w->level + b * 32 + 16, 0);

		memcpy(to, &w->scale[b], 2);
		_mm256_storeu_si256((__m256i_u *)(to + 2),
		    _mm256_permute4x64_epi64(_mm256_packs_epi16(first, second), 0xd8));
	}
}

/* 16 codes of 16 bits, of which each four become a byte: 4 bytes. */
ALWAYS_INLINE uint32_t fours(__m256i code)
{
	const __m256i pairs = _mm256_madd_epi16(code, _mm256_set1_epi32(4 << 16 | 1));
	const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
	const __m128i four = _mm_madd_epi16(words, _mm_set1_epi32(16 << 16 | 1));

	return (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(_mm_packs_epi32(four, four), four));
}

static void avx2_q2_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	const __m256i one = _mm256_set1_epi16(1);
	unsigned char *to = dst;

	for (size_t b = 0; b < blocks; b++, to += 18) {
		const uint16_t scale = w->scale[b] ^ (w->zero[b] == 2 ? 0x8000 : 0);
		const __m256i sign = _mm256_set1_epi16(w->zero[b] == 2 ? -1 : 1);

		memcpy(to, &scale, 2);
		for (int i = 0; i < 4; i++) {
			const __m256i level =
			    _mm256_sign_epi16(load_levels(w->level + b * 64 + (size_t)i * 16, 0), sign);
			const uint32_t codes = fours(_mm256_add_epi16(level, one));

			memcpy(to + 2 + (size_t)i * 4, &codes, 4);
		}
	}
}

/* --- From the words of GPTQ --- */

#define GGUF_COLUMNS 8

#include "kernel/gguf/gguf_strips.h"

ALWAYS_INLINE gguf_words gguf_load(const unsigned char *src, uint32_t n)
{
	static const int32_t masks[2 * GGUF_COLUMNS] = {-1, -1, -1, -1, -1, -1, -1, -1};

	if (n >= GGUF_COLUMNS)
		return (gguf_words)_mm256_loadu_si256((const __m256i_u *)src);
	return (gguf_words)_mm256_maskload_epi32((const int *)src,
	    _mm256_loadu_si256((const __m256i_u *)(masks + GGUF_COLUMNS - n)));
}

ALWAYS_INLINE gguf_words gguf_zip8_low(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm256_unpacklo_epi8((__m256i)a, (__m256i)b);
}

ALWAYS_INLINE gguf_words gguf_zip8_high(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm256_unpackhi_epi8((__m256i)a, (__m256i)b);
}

ALWAYS_INLINE gguf_words gguf_zip32_low(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm256_unpacklo_epi32((__m256i)a, (__m256i)b);
}

ALWAYS_INLINE gguf_words gguf_zip32_high(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm256_unpackhi_epi32((__m256i)a, (__m256i)b);
}

ALWAYS_INLINE gguf_words gguf_zip64_low(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm256_unpacklo_epi64((__m256i)a, (__m256i)b);
}

ALWAYS_INLINE gguf_words gguf_zip64_high(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm256_unpackhi_epi64((__m256i)a, (__m256i)b);
}

ALWAYS_INLINE void gguf_store(unsigned char *dst, gguf_words value, unsigned lane)
{
	const __m128i half =
	    lane ? _mm256_extracti128_si256((__m256i)value, 1) : _mm256_castsi256_si128((__m256i)value);

	_mm_storeu_si128((__m128i_u *)dst, half);
}

void gguf_init_avx2(struct gguf_dsp *dsp)
{
	dsp->pack[GGUF_Q2_0] = avx2_q2_0;
	dsp->pack[GGUF_Q4_0] = avx2_q4_0;
	dsp->pack[GGUF_Q5_0] = avx2_q5_0;
	dsp->pack[GGUF_Q8_0] = avx2_q8_0;
	gguf_install_gptq(dsp);
}

#endif
