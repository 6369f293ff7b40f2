/* SPDX-License-Identifier: MIT */

/* AVX-512: 32 codes at a time, a cache line of 16-bit output; masked loads and stores at the end. */

#if defined(__x86_64__)

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "compile with -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#include "kernel/simd/avx512.h"

#define FP8_LANES 16

#include "kernel/fp8/fp8_blocks.h"

enum { AT_ONCE = 32 };

ALWAYS_INLINE struct floats32 floats_of_halves(__m512i halves)
{
	return (struct floats32){
	    _mm512_cvtph_ps(_mm512_castsi512_si256(halves)), _mm512_cvtph_ps(_mm512_extracti64x4_epi64(halves, 1))};
}

/* E4M3 codes as fp16 of the same bits: 2^-8 of their value, except NaN. */
ALWAYS_INLINE __m512i halves_of_e4m3(__m256i codes)
{
	return _mm512_and_si512(_mm512_slli_epi16(_mm512_cvtepi8_epi16(codes), 7), _mm512_set1_epi16((short)0xbf80));
}

ALWAYS_INLINE __mmask32 nans_of_e4m3(__m256i codes)
{
	const __m256i magnitude = _mm256_set1_epi8(0x7f);

	return _mm256_cmpeq_epi8_mask(_mm256_and_si256(codes, magnitude), magnitude);
}

/* Exact values; NaNs are NaN. */
ALWAYS_INLINE struct floats32 fp8_values(__m256i codes, enum dtype code)
{
	const __m512 unfold = _mm512_set1_ps(FP8_FOLDED);
	struct floats32 value;

	if (code == DTYPE_F8_E5M2)
		return floats_of_halves(_mm512_slli_epi16(_mm512_cvtepu8_epi16(codes), 8));
	value = floats_of_halves(_mm512_mask_mov_epi16(halves_of_e4m3(codes), nans_of_e4m3(codes),
	    _mm512_set1_epi16(0x7e00)));
	return (struct floats32){_mm512_mul_ps(value.low, unfold), _mm512_mul_ps(value.high, unfold)};
}

ALWAYS_INLINE struct floats32 fp8_product(struct floats32 value, struct floats32 scale, bool divide)
{
	if (divide)
		return (struct floats32){_mm512_div_ps(value.low, scale.low), _mm512_div_ps(value.high, scale.high)};
	return (struct floats32){_mm512_mul_ps(value.low, scale.low), _mm512_mul_ps(value.high, scale.high)};
}

/* Returns the value, with the canonical NaN where the mask is set. */
ALWAYS_INLINE struct floats32 with_nans(struct floats32 value, __mmask32 nans)
{
	const __m512 nan = _mm512_castsi512_ps(_mm512_set1_epi32(0x7fc00000));

	return (struct floats32){_mm512_mask_mov_ps(value.low, (__mmask16)nans, nan),
	    _mm512_mask_mov_ps(value.high, (__mmask16)(nans >> 16), nan)};
}

ALWAYS_INLINE struct floats32 load_scales(const float *scales, __mmask32 there, bool each)
{
	const __m512 one = _mm512_set1_ps(*scales);

	if (!each)
		return (struct floats32){one, one};
	return (struct floats32){_mm512_maskz_loadu_ps((__mmask16)there, scales),
	    _mm512_maskz_loadu_ps((__mmask16)(there >> 16), scales + 16)};
}

/* The codes in the mask. */
ALWAYS_INLINE void fp8_decode32(char *dst, const unsigned char *src, struct floats32 scale, __mmask32 there,
    struct fp8_variant v)
{
	const __m256i codes = _mm256_maskz_loadu_epi8(there, src);
	struct floats32 value;

	if (v.plain) {
		value = fp8_product(floats_of_halves(halves_of_e4m3(codes)), scale, v.divide);
		value = with_nans(value, nans_of_e4m3(codes));
	} else {
		value = fp8_product(fp8_values(codes, v.code), scale, v.divide);
		value = (struct floats32){canonical_nan(value.low), canonical_nan(value.high)};
	}
	floats32_store(dst, value, there, v.out);
}

ALWAYS_INLINE void fp8_decode(char *dst, const unsigned char *codes, size_t n, const float *scales,
    struct fp8_variant v)
{
	const size_t size = out_bytes(v.out);
	const __mmask32 all = ~0u;
	size_t i = 0;

	for (; i + AT_ONCE <= n; i += AT_ONCE) {
		prefetch_ahead(codes + i);
		fp8_decode32(dst + i * size, codes + i, load_scales(v.each ? scales + i : scales, all, v.each), all, v);
	}
	if (i < n) {
		const __mmask32 rest = all >> (AT_ONCE - (n - i));

		fp8_decode32(dst + i * size, codes + i, load_scales(v.each ? scales + i : scales, rest, v.each), rest,
		    v);
	}
}

void fp8_init_avx512(struct fp8_dsp *dsp)
{
	fp8_install(dsp);
}

void fp8_cast_init_avx512(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS])
{
	fp8_cast_install(cast);
}

#endif
