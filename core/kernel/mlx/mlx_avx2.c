/* SPDX-License-Identifier: MIT */

/* AVX2: a block of 32 codes is a vector of bytes; words are transposed 8 by 8. */

#if defined(__x86_64__)

#ifndef __AVX2__
#error "compile with -mavx2"
#endif

#include <immintrin.h>
#include <string.h>

#include "kernel/simd/inline.h"
#include "kernel/simd/levels_avx2.h"
#include "kernel/mlx/mlx.h"

/* ---- codes ---- */

/* Joins neighbours: bytes with `bits` bits to 16-bit lanes, those to 32, those to 64 bits with 8 codes each. */
ALWAYS_INLINE __m256i join_codes(__m256i codes, int bits)
{
	const __m256i twos = _mm256_maddubs_epi16(codes, _mm256_set1_epi16((short)(1 << (8 + bits) | 1)));
	const __m256i fours = _mm256_madd_epi16(twos, _mm256_set1_epi32(1 << (16 + 2 * bits) | 1));
	const __m256i low = _mm256_and_si256(fours, _mm256_set1_epi64x(0xffffffff));

	return _mm256_or_si256(low, _mm256_slli_epi64(_mm256_srli_epi64(fours, 32), 4 * bits));
}

ALWAYS_INLINE __m128i join_nibbles(__m256i codes)
{
	const __m256i twos = _mm256_maddubs_epi16(codes, _mm256_set1_epi16(0x1001));

	return _mm256_castsi256_si128(_mm256_permute4x64_epi64(_mm256_packus_epi16(twos, twos), 0x08));
}

/* Eight codes take as many bytes as they have bits. */
ALWAYS_INLINE void store_codes(unsigned char *to, __m256i codes, int bits)
{
	const __m256i eights = join_codes(codes, bits);
	const __m128i low = _mm256_castsi256_si128(eights), high = _mm256_extracti128_si256(eights, 1);
	const int64_t part[4] = {
	    _mm_cvtsi128_si64(low), _mm_extract_epi64(low, 1), _mm_cvtsi128_si64(high), _mm_extract_epi64(high, 1)};

	for (int i = 0; i < 4; i++)
		memcpy(to + (size_t)i * (size_t)bits, &part[i], (size_t)bits);
}

ALWAYS_INLINE void pack_codes(unsigned char *to, const uint16_t *level, const uint8_t *zero, size_t blocks, int bits)
{
	for (size_t b = 0; b < blocks; b++, level += MLX_BLOCK, to += 4 * bits) {
		const __m256i codes = _mm256_permute4x64_epi64(_mm256_packus_epi16(load_levels(level, zero[b]),
								   load_levels(level + 16, zero[b])),
		    0xd8);

		if (bits == 8)
			_mm256_storeu_si256((__m256i_u *)to, codes);
		else if (bits == 4)
			_mm_storeu_si128((__m128i_u *)to, join_nibbles(codes));
		else
			store_codes(to, codes, bits);
	}
}

#define DEFINE_PACK(bits)                                                                                 \
	static void avx2_pack##bits(void *dst, const uint16_t *level, const uint8_t *zero, size_t blocks) \
	{                                                                                                 \
		pack_codes(dst, level, zero, blocks, bits);                                               \
	}

DEFINE_PACK(2)
DEFINE_PACK(3)
DEFINE_PACK(4)
DEFINE_PACK(5)
DEFINE_PACK(6)
DEFINE_PACK(8)

/* ---- words ---- */

#define STRIP 256 /* rows that are transposed together: their words in a row of the source lie in one piece */
#define LINE 16   /* words of a cache line */
#define AHEAD 16  /* rows of the source that are prefetched before they are used */

/* Lane i of row j becomes lane j of row i. */
ALWAYS_INLINE void transpose_eight(__m256i row[8])
{
	__m256i a[8], b[8];

	for (int i = 0; i < 4; i++) {
		a[2 * i] = _mm256_unpacklo_epi32(row[2 * i], row[2 * i + 1]);
		a[2 * i + 1] = _mm256_unpackhi_epi32(row[2 * i], row[2 * i + 1]);
	}
	for (int i = 0; i < 8; i += 4) {
		b[i] = _mm256_unpacklo_epi64(a[i], a[i + 2]);
		b[i + 1] = _mm256_unpackhi_epi64(a[i], a[i + 2]);
		b[i + 2] = _mm256_unpacklo_epi64(a[i + 1], a[i + 3]);
		b[i + 3] = _mm256_unpackhi_epi64(a[i + 1], a[i + 3]);
	}
	for (int i = 0; i < 4; i++) {
		row[i] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x20);
		row[i + 4] = _mm256_permute2x128_si256(b[i], b[i + 4], 0x31);
	}
}

ALWAYS_INLINE void transpose_block(unsigned char *dst, size_t dst_row, const unsigned char *src, size_t src_row)
{
	__m256i row[8];

	for (int i = 0; i < 8; i++)
		row[i] = _mm256_loadu_si256((const __m256i_u *)(src + (size_t)i * src_row));
	transpose_eight(row);
	for (int i = 0; i < 8; i++)
		_mm256_storeu_si256((__m256i_u *)(dst + (size_t)i * dst_row), row[i]);
}

/*
 * Whole blocks of a strip of rows. Rows of the source are pages apart, so that no prefetcher of the processor sees that
 * they follow one another.
 */
static void transpose_strip(unsigned char *dst, const struct mlx_transpose *t, uint32_t first, uint32_t rows)
{
	const size_t src_row = t->src_row, dst_row = t->dst_row;
	const uint32_t columns = t->columns;
	const unsigned char *src = t->src + (size_t)first * 4;

	dst += first * dst_row;
	for (uint32_t k = 0; k + 8 <= columns; k += 8, src += 8 * src_row, dst += 32) {
		if (k + AHEAD + 8 <= columns)
			for (uint32_t i = AHEAD; i < AHEAD + 8; i++)
				for (uint32_t n = 0; n < rows; n += LINE)
					_mm_prefetch((const char *)(src + i * src_row + (size_t)n * 4), _MM_HINT_T0);
		for (uint32_t n = 0; n + 8 <= rows; n += 8)
			transpose_block(dst + n * dst_row, dst_row, src + (size_t)n * 4, src_row);
	}
}

static void avx2_transpose(void *dst, const struct mlx_transpose *t)
{
	const uint32_t rows = t->rows / 8 * 8, columns = t->columns / 8 * 8;
	struct mlx_transpose rest = *t;

	for (uint32_t n = 0; n < rows; n += STRIP)
		transpose_strip(dst, t, n, rows - n < STRIP ? rows - n : STRIP);
	/* The last columns of these rows, and all of the last rows. */
	rest.rows = rows;
	rest.columns = t->columns - columns;
	rest.src += columns * t->src_row;
	mlx_reference.transpose((unsigned char *)dst + (size_t)columns * 4, &rest);
	rest.rows = t->rows - rows;
	rest.columns = t->columns;
	rest.src = t->src + (size_t)rows * 4;
	mlx_reference.transpose((unsigned char *)dst + rows * t->dst_row, &rest);
}

void mlx_init_avx2(struct mlx_dsp *dsp)
{
	*dsp = (struct mlx_dsp){.pack = {[2] = avx2_pack2,
				    [3] = avx2_pack3,
				    [4] = avx2_pack4,
				    [5] = avx2_pack5,
				    [6] = avx2_pack6,
				    [8] = avx2_pack8},
	    .transpose = avx2_transpose};
}

#endif
