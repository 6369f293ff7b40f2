/* SPDX-License-Identifier: MIT */

/*
 * AVX2 and F16C: 16 codes at a time, split into even and odd ones, so that one blend packs two floats as bf16. Real
 * models have no NaN codes, so 32 codes are tested at once, and rare NaN takes another path.
 */

#if defined(__x86_64__)

#if !defined(__AVX2__) || !defined(__F16C__)
#error "compile with -mavx2 -mf16c"
#endif

#include "kernel/simd/avx2.h"

#define FP8_LANES 8

#include "kernel/fp8/fp8_blocks.h"

/* Converts 16 codes to fp16 of the same bits, or with the code as the upper byte; even ones in the lower half. */
ALWAYS_INLINE __m256i fp8_halves(__m128i codes, enum dtype code)
{
	const __m128i apart = _mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15);
	const __m256i wide = _mm256_cvtepi8_epi16(_mm_shuffle_epi8(codes, apart));

	if (code == DTYPE_F8_E5M2)
		return _mm256_slli_epi16(wide, 8);
	return _mm256_and_si256(_mm256_slli_epi16(wide, 7), _mm256_set1_epi16((short)0xbf80));
}

ALWAYS_INLINE struct floats16 floats_of_halves(__m256i halves)
{
	return (struct floats16){
	    _mm256_cvtph_ps(_mm256_castsi256_si128(halves)), _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1))};
}

/* Exact values; NaNs are NaN. */
ALWAYS_INLINE struct floats16 fp8_values(__m128i codes, enum dtype code)
{
	const __m256 unfold = _mm256_set1_ps(FP8_FOLDED);
	const __m256i magnitude = _mm256_set1_epi16(0x3f80);
	__m256i halves = fp8_halves(codes, code), nan;
	struct floats16 value;

	if (code == DTYPE_F8_E5M2)
		return floats_of_halves(halves);
	nan = _mm256_cmpeq_epi16(_mm256_and_si256(halves, magnitude), magnitude);
	halves = _mm256_or_si256(halves, _mm256_and_si256(nan, _mm256_set1_epi16(0x7e00)));
	value = floats_of_halves(halves);
	return (struct floats16){_mm256_mul_ps(value.even, unfold), _mm256_mul_ps(value.odd, unfold)};
}

/* One scale for all, or 16 scales. */
ALWAYS_INLINE struct floats16 load_scales(const float *scales, bool each)
{
	__m256 low, high, even, odd;

	if (!each)
		return (struct floats16){_mm256_set1_ps(*scales), _mm256_set1_ps(*scales)};
	low = _mm256_loadu_ps(scales);
	high = _mm256_loadu_ps(scales + 8);
	even = _mm256_shuffle_ps(low, high, 0x88); /* 0 2 8 10, 4 6 12 14 */
	odd = _mm256_shuffle_ps(low, high, 0xdd);
	return (struct floats16){_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(even), 0xd8)),
	    _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(odd), 0xd8))};
}

ALWAYS_INLINE void fp8_decode16(char *dst, __m128i codes, struct floats16 scale, struct fp8_variant v)
{
	struct floats16 value = v.plain ? floats_of_halves(fp8_halves(codes, v.code)) : fp8_values(codes, v.code);

	if (v.divide)
		value = (struct floats16){_mm256_div_ps(value.even, scale.even), _mm256_div_ps(value.odd, scale.odd)};
	else
		value = (struct floats16){_mm256_mul_ps(value.even, scale.even), _mm256_mul_ps(value.odd, scale.odd)};
	if (!v.plain)
		value = (struct floats16){canonical_nan(value.even), canonical_nan(value.odd)};
	floats16_store(dst, value, v.out);
}

/* Decodes up to 16 codes of any kind, without access beyond them. */
static __attribute__((noinline)) void fp8_decode_some(char *dst, const unsigned char *src, size_t n,
    const float *scales, struct fp8_variant v)
{
	unsigned char codes[16] = {0};
	float scale[16] = {0};
	char out[64];

	const float unfold = !v.plain ? 1 : v.divide ? FP8_FOLDED : 1 / FP8_FOLDED;

	memcpy(codes, src, n);
	for (size_t i = 0; i < n; i++)
		scale[i] = (v.each ? scales[i] : *scales) * unfold;
	v.each = true;
	v.plain = false;
	fp8_decode16(out, _mm_loadu_si128((const __m128i_u *)codes), load_scales(scale, true), v);
	memcpy(dst, out, n * out_bytes(v.out));
}

ALWAYS_INLINE bool has_nan_e4m3(__m256i codes)
{
	const __m256i magnitude = _mm256_set1_epi8(0x7f);

	return _mm256_movemask_epi8(_mm256_cmpeq_epi8(_mm256_and_si256(codes, magnitude), magnitude)) != 0;
}

ALWAYS_INLINE void fp8_decode(char *dst, const unsigned char *codes, size_t n, const float *scales,
    struct fp8_variant v)
{
	const size_t size = out_bytes(v.out);
	size_t i = 0;

	for (; v.plain && i + 32 <= n; i += 32) {
		const __m256i pair = _mm256_loadu_si256((const __m256i_u *)(codes + i));
		const float *first = v.each ? scales + i : scales, *second = v.each ? first + 16 : first;

		prefetch_ahead(codes + i);
		if (__builtin_expect(has_nan_e4m3(pair), 0)) {
			fp8_decode_some(dst + i * size, codes + i, 16, first, v);
			fp8_decode_some(dst + (i + 16) * size, codes + i + 16, 16, second, v);
			continue;
		}
		fp8_decode16(dst + i * size, _mm256_castsi256_si128(pair), load_scales(first, v.each), v);
		fp8_decode16(dst + (i + 16) * size, _mm256_extracti128_si256(pair, 1), load_scales(second, v.each), v);
	}
	for (; !v.plain && i + 16 <= n; i += 16)
		fp8_decode16(dst + i * size, _mm_loadu_si128((const __m128i_u *)(codes + i)),
		    load_scales(v.each ? scales + i : scales, v.each), v);
	for (; i < n; i += 16)
		fp8_decode_some(dst + i * size, codes + i, n - i < 16 ? n - i : 16, v.each ? scales + i : scales, v);
}

void fp8_init_avx2(struct fp8_dsp *dsp)
{
	fp8_install(dsp);
}

void fp8_cast_init_avx2(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS])
{
	fp8_cast_install(cast);
}

#endif
