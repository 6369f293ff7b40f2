/* SPDX-License-Identifier: MIT */

/* AVX2 and F16C: outputs of 16 bits are looked up as bytes, the low and the high ones, 32 at a time. */

#if defined(__x86_64__)

#if !defined(__AVX2__) || !defined(__F16C__)
#error "compile with -mavx2 -mf16c"
#endif

#include "kernel/simd/avx2.h"

/* The low and the high bytes of 16 outputs, in both halves of a register; or the first and the last 8 floats. */
struct bnb_outputs {
	__m256i low, high;
};

#include "kernel/bnb/bnb_runs.h"

ALWAYS_INLINE struct bnb_outputs bnb4_outputs(const float *table, float absmax, enum dtype out)
{
	const __m256 scale = _mm256_set1_ps(absmax);
	const __m256 first = canonical_nan(_mm256_mul_ps(_mm256_loadu_ps(table), scale));
	const __m256 last = canonical_nan(_mm256_mul_ps(_mm256_loadu_ps(table + 8), scale));
	struct byte_tables bytes;

	if (out == DTYPE_F32)
		return (struct bnb_outputs){_mm256_castps_si256(first), _mm256_castps_si256(last)};
	bytes = byte_tables_of(first, last, out);
	return (struct bnb_outputs){bytes.low, bytes.high};
}

/*
 * 32 codes of 16 bytes. The four middle bytes of each half change places, so that the halves of a register that bytes
 * are woven in have codes 0 to 15, then 16 to 31.
 */
ALWAYS_INLINE void bnb4_look_up32(char *dst, __m128i codes, const struct bnb_outputs *outputs)
{
	const __m256i wide = _mm256_cvtepu8_epi16(_mm_shuffle_epi32(codes, _MM_SHUFFLE(3, 1, 2, 0)));
	const __m256i index = _mm256_and_si256(_mm256_or_si256(_mm256_srli_epi16(wide, 4), _mm256_slli_epi16(wide, 8)),
	    _mm256_set1_epi8(15));
	const __m256i low = _mm256_shuffle_epi8(outputs->low, index), high = _mm256_shuffle_epi8(outputs->high, index);

	_mm256_storeu_si256((__m256i_u *)dst, _mm256_unpacklo_epi8(low, high));
	_mm256_storeu_si256((__m256i_u *)(dst + 32), _mm256_unpackhi_epi8(low, high));
}

/* 8 codes of 4 bytes; the bits of an index above the fourth change nothing. */
ALWAYS_INLINE void bnb4_look_up8(char *dst, const unsigned char *codes, const struct bnb_outputs *outputs)
{
	const __m256i wide = _mm256_cvtepu8_epi64(_mm_loadu_si32(codes));
	const __m256i index = _mm256_or_si256(_mm256_srli_epi64(wide, 4), _mm256_slli_epi64(wide, 32));
	const __m256 first = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(outputs->low, index));
	const __m256 last = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(outputs->high, index));

	_mm256_storeu_ps((float *)dst,
	    _mm256_blendv_ps(first, last, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28))));
}

ALWAYS_INLINE void bnb4_look_up(char *dst, const unsigned char *codes, size_t n, const struct bnb_outputs *outputs,
    enum dtype out)
{
	const size_t at_once = out == DTYPE_F32 ? 8 : 32, size = out_bytes(out);
	unsigned char last[16] = {0};
	char buffer[64];
	size_t i = 0;

	for (; i + at_once <= n; i += at_once) {
		if (out == DTYPE_F32)
			bnb4_look_up8(dst + i * size, codes + i / 2, outputs);
		else
			bnb4_look_up32(dst + i * size, _mm_loadu_si128((const __m128i_u *)(codes + i / 2)), outputs);
	}
	if (i == n)
		return;
	memcpy(last, codes + i / 2, (n - i + 1) / 2);
	if (out == DTYPE_F32)
		bnb4_look_up8(buffer, last, outputs);
	else
		bnb4_look_up32(buffer, _mm_loadu_si128((const __m128i_u *)last), outputs);
	memcpy(dst + i * size, buffer, (n - i) * size);
}

/* 8 codes; both steps, each rounded. */
ALWAYS_INLINE __m256 bnb8_values(__m128i codes, __m256 scale)
{
	const __m256 value = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes));

	return canonical_nan(_mm256_mul_ps(_mm256_mul_ps(value, scale), _mm256_set1_ps(bnb8_step)));
}

ALWAYS_INLINE void bnb8_decode16(char *dst, const unsigned char *codes, __m256 scale, enum dtype out)
{
	const __m128i apart = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
	const __m128i of = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i_u *)codes), apart);

	floats16_store(dst, (struct floats16){bnb8_values(of, scale), bnb8_values(_mm_srli_si128(of, 8), scale)}, out);
}

ALWAYS_INLINE void bnb8_decode(char *dst, const unsigned char *codes, size_t n, float scale, enum dtype out)
{
	const __m256 scales = _mm256_set1_ps(scale);
	const size_t size = out_bytes(out);
	unsigned char last[16] = {0};
	char buffer[64];
	size_t i = 0;

	for (; i + 16 <= n; i += 16) {
		prefetch_ahead(codes + i);
		bnb8_decode16(dst + i * size, codes + i, scales, out);
	}
	if (i == n)
		return;
	memcpy(last, codes + i, n - i);
	bnb8_decode16(buffer, last, scales, out);
	memcpy(dst + i * size, buffer, (n - i) * size);
}

void bnb_init_avx2(struct bnb_dsp *dsp)
{
	bnb_install(dsp);
}

#endif
