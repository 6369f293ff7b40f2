/* SPDX-License-Identifier: MIT */

/* AVX-512: 8 rows of 16 columns at a time, whose sums take 16 of the 32 registers. */

#if defined(__x86_64__)

#include "kernel/simd/avx512.h"

#define LANES 8
#define BLOCK_ROWS 8

typedef __m512d doubles;

ALWAYS_INLINE doubles doubles_load(const double *at)
{
	return _mm512_loadu_pd(at);
}

ALWAYS_INLINE doubles doubles_widen(const float *at)
{
	return _mm512_cvtps_pd(_mm256_loadu_ps(at));
}

ALWAYS_INLINE doubles doubles_all(double value)
{
	return _mm512_set1_pd(value);
}

ALWAYS_INLINE doubles doubles_multiply(doubles a, doubles b)
{
	return _mm512_mul_pd(a, b);
}

ALWAYS_INLINE doubles doubles_add(doubles a, doubles b)
{
	return _mm512_add_pd(a, b);
}

ALWAYS_INLINE doubles multiply_add(doubles a, doubles b, doubles c)
{
	return _mm512_fmadd_pd(a, b, c);
}

ALWAYS_INLINE void doubles_store(void *dst, doubles value)
{
	_mm512_storeu_pd(dst, value);
}

/*
 * To fp32, to odd: cut off, and the last bit is set if that lost anything. Rounding the result once more to at most 22
 * bits gives what rounding the double would.
 */
ALWAYS_INLINE __m256 round_to_odd(doubles value)
{
	const __m256 cut = _mm512_cvt_roundpd_ps(value, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
	const __mmask8 lost = _mm512_cmp_pd_mask(_mm512_cvtps_pd(cut), value, _CMP_NEQ_OQ);

	return _mm256_castsi256_ps(_mm256_mask_or_epi32(_mm256_castps_si256(cut), lost, _mm256_castps_si256(cut),
	    _mm256_set1_epi32(1)));
}

ALWAYS_INLINE __m512 join_floats(__m256 low, __m256 high)
{
	return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1);
}

ALWAYS_INLINE void store_rounded(char *dst, doubles low, doubles high, enum dtype out)
{
	if (out == DTYPE_F32)
		_mm512_storeu_ps(dst, canonical_nan(join_floats(_mm512_cvtpd_ps(low), _mm512_cvtpd_ps(high))));
	else
		_mm256_storeu_si256((__m256i_u *)dst,
		    round16(canonical_nan(join_floats(round_to_odd(low), round_to_odd(high))), out));
}

#include "kernel/lora/lora_tile.h"

#define SPAN 2

typedef __m512 floats;

ALWAYS_INLINE floats floats_load(const float *at)
{
	return _mm512_loadu_ps(at);
}

ALWAYS_INLINE floats floats_all(float value)
{
	return _mm512_set1_ps(value);
}

ALWAYS_INLINE floats floats_multiply(floats a, floats b)
{
	return _mm512_mul_ps(a, b);
}

ALWAYS_INLINE floats floats_add(floats a, floats b)
{
	return _mm512_add_ps(a, b);
}

ALWAYS_INLINE floats floats_subtract(floats a, floats b)
{
	return _mm512_sub_ps(a, b);
}

ALWAYS_INLINE floats floats_magnitude(floats value)
{
	return _mm512_abs_ps(value);
}

ALWAYS_INLINE floats floats_multiply_add(floats a, floats b, floats c)
{
	return _mm512_fmadd_ps(a, b, c);
}

ALWAYS_INLINE bool store_low(char *dst, floats low, floats high, enum dtype out)
{
	/* The second operand if the first is a NaN. */
	const __m512 number = _mm512_max_ps(high, _mm512_set1_ps(-HUGE_VALF));
	const __m256i a = round16(low, out), b = round16(number, out);

	_mm256_storeu_si256((__m256i_u *)dst, a);
	return !_mm256_cmpneq_epi16_mask(a, b);
}

#include "kernel/lora/lora_bounded.h"

void lora_init_avx512(struct lora_dsp *dsp)
{
	lora_install(dsp);
	lora_bounded_install(dsp);
}

#endif
