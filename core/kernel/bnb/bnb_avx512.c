/* SPDX-License-Identifier: MIT */

/* AVX-512: outputs of a block in one register, 32 of 16 bits looked up at a time; masks for the last ones. */

#if defined(__x86_64__)

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "compile with -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#include "kernel/simd/avx512.h"

/* 16 floats, or 16 halves twice: a fifth bit of an index changes nothing. */
struct bnb_outputs {
	__m512i of;
};

#include "kernel/bnb/bnb_runs.h"

ALWAYS_INLINE struct bnb_outputs bnb4_outputs(const float *table, float absmax, enum dtype out)
{
	const __m512 value = canonical_nan(_mm512_mul_ps(_mm512_loadu_ps(table), _mm512_set1_ps(absmax)));

	if (out == DTYPE_F32)
		return (struct bnb_outputs){_mm512_castps_si512(value)};
	return (struct bnb_outputs){table16(value, out)};
}

/* 16 bytes, each in two elements of 16 bits, the first of which is shifted. */
ALWAYS_INLINE __m512i bnb4_index32(__m128i codes)
{
	const __m512i twice = _mm512_set_epi64((long long)0x800f800f800e800e, (long long)0x800d800d800c800c,
	    (long long)0x800b800b800a800a, (long long)0x8009800980088008, (long long)0x8007800780068006,
	    (long long)0x8005800580048004, (long long)0x8003800380028002, (long long)0x8001800180008000);

	return _mm512_srlv_epi16(_mm512_shuffle_epi8(_mm512_broadcast_i32x4(codes), twice), _mm512_set1_epi32(4));
}

/* 8 bytes, likewise in elements of 32 bits. */
ALWAYS_INLINE __m512i bnb4_index16(__m128i codes)
{
	const __m512i wide = _mm512_cvtepu8_epi64(codes);

	return _mm512_or_si512(_mm512_srli_epi64(wide, 4), _mm512_slli_epi64(wide, 32));
}

ALWAYS_INLINE void bnb4_look_up(char *dst, const unsigned char *codes, size_t n, const struct bnb_outputs *outputs,
    enum dtype out)
{
	const size_t at_once = out == DTYPE_F32 ? 16 : 32;
	size_t i = 0;

	for (; i + at_once <= n; i += at_once) {
		if (out == DTYPE_F32)
			_mm512_storeu_si512(dst + i * 4,
			    _mm512_permutexvar_epi32(bnb4_index16(_mm_loadl_epi64((const __m128i_u *)(codes + i / 2))),
				outputs->of));
		else
			_mm512_storeu_si512(dst + i * 2,
			    _mm512_permutexvar_epi16(bnb4_index32(_mm_loadu_si128((const __m128i_u *)(codes + i / 2))),
				outputs->of));
	}
	if (i < n) {
		const __mmask32 there = ~0u >> (32 - (n - i));
		const __m128i last = _mm_maskz_loadu_epi8((__mmask16)(0xffff >> (16 - (n - i + 1) / 2)), codes + i / 2);

		if (out == DTYPE_F32)
			_mm512_mask_storeu_epi32(dst + i * 4, (__mmask16)there,
			    _mm512_permutexvar_epi32(bnb4_index16(last), outputs->of));
		else
			_mm512_mask_storeu_epi16(dst + i * 2, there,
			    _mm512_permutexvar_epi16(bnb4_index32(last), outputs->of));
	}
}

/* 16 codes; both steps, each rounded. */
ALWAYS_INLINE __m512 bnb8_values(__m128i codes, __m512 scale)
{
	const __m512 value = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes));

	return canonical_nan(_mm512_mul_ps(_mm512_mul_ps(value, scale), _mm512_set1_ps(bnb8_step)));
}

ALWAYS_INLINE void bnb8_decode(char *dst, const unsigned char *codes, size_t n, float scale, enum dtype out)
{
	const __m512 scales = _mm512_set1_ps(scale);
	size_t i = 0;

	for (; i < n; i += 32) {
		const __mmask32 there = n - i < 32 ? ~0u >> (32 - (n - i)) : ~0u;
		const __m256i of = _mm256_maskz_loadu_epi8(there, codes + i);
		const struct floats32 value = {bnb8_values(_mm256_castsi256_si128(of), scales),
		    bnb8_values(_mm256_extracti128_si256(of, 1), scales)};

		prefetch_ahead(codes + i);
		floats32_store(dst + i * out_bytes(out), value, there, out);
	}
}

void bnb_init_avx512(struct bnb_dsp *dsp)
{
	bnb_install(dsp);
}

#endif
