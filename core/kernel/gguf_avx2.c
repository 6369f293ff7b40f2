/* SPDX-License-Identifier: MIT */

/* AVX2: levels become integers of 16 bits, 16 in a vector, which is half a block of 32. */

#if defined(__x86_64__)

#ifndef __AVX2__
#error "compile with -mavx2"
#endif

#include <immintrin.h>
#include <string.h>

#include "kernel/gguf.h"
#include "kernel/inline.h"

/* 16 levels plus `add`. */
ALWAYS_INLINE __m256i load_levels(const uint16_t *level, int add)
{
	const __m256i half = _mm256_loadu_si256((const __m256i_u *)level);
	const __m256i sign = _mm256_srai_epi16(half, 15);
	const __m256i magnitude = _mm256_and_si256(half, _mm256_set1_epi16(0x7fff));

	return _mm256_add_epi16(_mm256_sub_epi16(_mm256_xor_si256(magnitude, sign), sign),
	    _mm256_set1_epi16((short)add));
}

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

#define STRIP 256 /* columns whose words lie together in memory */
#define AHEAD 64  /* codes of them that are prefetched before they are used */

/* The codes of 8 columns less their zeros, plus 8 or 16: 32 of column c and of c + 4 in the lanes of vector c. */
struct strip_codes {
	__m256i first[4], second[4]; /* codes 0 to 15, 16 to 31 */
};

ALWAYS_INLINE __m256i load_columns(const unsigned char *words, uint32_t n)
{
	static const int32_t masks[16] = {-1, -1, -1, -1, -1, -1, -1, -1};

	if (n >= 8)
		return _mm256_loadu_si256((const __m256i_u *)words);
	return _mm256_maskload_epi32((const int *)words, _mm256_loadu_si256((const __m256i_u *)(masks + 8 - n)));
}

/* The zeros of columns n to n + 7, a nibble each; those there are. */
ALWAYS_INLINE uint32_t load_zeros(const struct qtensor *q, uint32_t g, uint32_t n)
{
	const uint32_t words = (q->out_features + 7) / 8, shift = n % 8 * 4,
		       add = q->zeros == ZEROS_V1 ? 0x11111111 : 0;
	const unsigned char *at = q->qzeros + ((size_t)g * words + n / 8) * 4;
	uint32_t low, high = 0;

	if (q->zeros == ZEROS_MIDDLE)
		return 0x88888888;
	memcpy(&low, at, 4);
	if (!shift)
		return low + add;
	if (n / 8 + 1 < words)
		memcpy(&high, at + 4, 4);
	return (low + add) >> shift | (high + add) << (32 - shift);
}

/* 4 rows of words: 32 codes of each column. */
ALWAYS_INLINE struct strip_codes load_strip(const struct qtensor *q, uint32_t k, uint32_t n, uint32_t count, int base)
{
	const size_t row = (size_t)q->out_features * 4;
	const unsigned char *at = q->qweight + k / 8 * row + (size_t)n * 4;
	const __m256i r0 = load_columns(at, count), r1 = load_columns(at + row, count),
		      r2 = load_columns(at + 2 * row, count), r3 = load_columns(at + 3 * row, count);
	const __m256i t0 = _mm256_unpacklo_epi32(r0, r1), t1 = _mm256_unpackhi_epi32(r0, r1),
		      t2 = _mm256_unpacklo_epi32(r2, r3), t3 = _mm256_unpackhi_epi32(r2, r3);
	const __m256i column[4] = {_mm256_unpacklo_epi64(t0, t2), _mm256_unpackhi_epi64(t0, t2),
	    _mm256_unpacklo_epi64(t1, t3), _mm256_unpackhi_epi64(t1, t3)};
	const uint32_t zeros = load_zeros(q, k / q->group_size, n);
	const __m256i low = _mm256_set1_epi8(15);
	const __m128i nibble = _mm_cvtsi32_si128((int)zeros);
	const __m128i zero = _mm_and_si128(_mm_unpacklo_epi8(nibble, _mm_srli_epi16(nibble, 4)), _mm_set1_epi8(15));
	const __m256i add = _mm256_broadcastsi128_si256(_mm_sub_epi8(_mm_set1_epi8((char)base), zero));
	struct strip_codes codes;

	for (int c = 0; c < 4; c++) {
		const __m256i own =
		    _mm256_shuffle_epi8(add, _mm256_set_m128i(_mm_set1_epi8((char)(c + 4)), _mm_set1_epi8((char)c)));
		const __m256i even = _mm256_and_si256(column[c], low);
		const __m256i odd = _mm256_and_si256(_mm256_srli_epi16(column[c], 4), low);

		codes.first[c] = _mm256_add_epi8(_mm256_unpacklo_epi8(even, odd), own);
		codes.second[c] = _mm256_add_epi8(_mm256_unpackhi_epi8(even, odd), own);
	}
	return codes;
}

/* The block of one column: its nibbles, and for Q5_0 the fifth bits. */
ALWAYS_INLINE void store_block(unsigned char *to, const unsigned char *scale, __m128i value, uint32_t high,
    enum gguf_block type)
{
	memcpy(to, scale, 2);
	if (type == GGUF_Q5_0)
		memcpy(to + 2, &high, 4);
	_mm_storeu_si128((__m128i_u *)(to + (type == GGUF_Q5_0 ? 6 : 2)), value);
}

ALWAYS_INLINE void store_strip(unsigned char *to, size_t row_bytes, const struct strip_codes *codes,
    const unsigned char *scales, uint32_t count, enum gguf_block type)
{
	const __m256i low = _mm256_set1_epi8(15);

	for (uint32_t c = 0; c < 4; c++) {
		const __m256i first = codes->first[c], second = codes->second[c];
		const __m256i value =
		    _mm256_or_si256(_mm256_and_si256(first, low), _mm256_slli_epi16(_mm256_and_si256(second, low), 4));
		uint32_t a = 0, b = 0;

		if (type == GGUF_Q5_0) {
			a = (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(first, 3));
			b = (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(second, 3));
		}
		if (c < count)
			store_block(to + c * row_bytes, scales + (size_t)c * 2, _mm256_castsi256_si128(value),
			    (a & 0xffff) | b << 16, type);
		if (c + 4 < count)
			store_block(to + (c + 4) * row_bytes, scales + (size_t)(c + 4) * 2,
			    _mm256_extracti128_si256(value, 1), a >> 16 | (b & 0xffff0000), type);
	}
}

/* Rows of words are pages apart, so no prefetcher of the processor sees that they follow one another. */
ALWAYS_INLINE void prefetch_strip(const struct qtensor *q, uint32_t k, uint32_t n, uint32_t columns)
{
	const size_t row = (size_t)q->out_features * 4;
	const unsigned char *at = q->qweight + k / 8 * row + (size_t)n * 4;

	for (int i = 0; i < 4; i++)
		for (uint32_t c = 0; c < columns; c += 16)
			_mm_prefetch((const char *)(at + i * row + (size_t)c * 4), _MM_HINT_T0);
}

ALWAYS_INLINE void gptq_strips(unsigned char *dst, const struct qtensor *q, const struct kernel_rect *r,
    enum gguf_block type)
{
	const size_t bytes = type == GGUF_Q5_0 ? 22 : 18, row_bytes = r->columns / 32 * bytes;
	const uint32_t end = r->row0 + r->rows, k_end = r->column0 + r->columns;

	for (uint32_t strip = r->row0; strip < end; strip += STRIP) {
		const uint32_t strip_end = end - strip < STRIP ? end : strip + STRIP;

		for (uint32_t k = r->column0; k < k_end; k += 32) {
			unsigned char *to = dst + (strip - r->row0) * row_bytes + (k - r->column0) / 32 * bytes;

			if (k_end - k > AHEAD)
				prefetch_strip(q, k + AHEAD, strip, strip_end - strip);
			for (uint32_t n = strip; n < strip_end; n += 8, to += 8 * row_bytes) {
				const uint32_t count = strip_end - n < 8 ? strip_end - n : 8;
				const struct strip_codes codes = load_strip(q, k, n, count, type == GGUF_Q5_0 ? 16 : 8);

				store_strip(to, row_bytes, &codes,
				    q->scales + ((size_t)(k / q->group_size) * q->out_features + n) * 2, count, type);
			}
		}
	}
}

static void avx2_gptq_q4_0(void *dst, const struct qtensor *q, const struct kernel_rect *r)
{
	gptq_strips(dst, q, r, GGUF_Q4_0);
}

static void avx2_gptq_q5_0(void *dst, const struct qtensor *q, const struct kernel_rect *r)
{
	gptq_strips(dst, q, r, GGUF_Q5_0);
}

void gguf_init_avx2(struct gguf_dsp *dsp)
{
	dsp->pack[GGUF_Q2_0] = avx2_q2_0;
	dsp->pack[GGUF_Q4_0] = avx2_q4_0;
	dsp->pack[GGUF_Q5_0] = avx2_q5_0;
	dsp->pack[GGUF_Q8_0] = avx2_q8_0;
	dsp->gptq[GGUF_Q4_0] = avx2_gptq_q4_0;
	dsp->gptq[GGUF_Q5_0] = avx2_gptq_q5_0;
}

#endif
