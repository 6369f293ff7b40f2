/* SPDX-License-Identifier: MIT */

/* AVX2 and FMA: 4 rows of 8 columns at a time, whose sums take 8 of the 16 registers. */

#if defined(__x86_64__)

#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile with -mavx2 -mf16c -mfma"
#endif

#include "kernel/simd/avx2.h"
#include "kernel/element.h"

#define LANES 4
#define BLOCK_ROWS 4

typedef __m256d doubles;

ALWAYS_INLINE doubles doubles_load(const double *at)
{
	return _mm256_loadu_pd(at);
}

ALWAYS_INLINE doubles doubles_widen(const float *at)
{
	return _mm256_cvtps_pd(_mm_loadu_ps(at));
}

ALWAYS_INLINE doubles doubles_all(double value)
{
	return _mm256_set1_pd(value);
}

ALWAYS_INLINE doubles doubles_multiply(doubles a, doubles b)
{
	return _mm256_mul_pd(a, b);
}

ALWAYS_INLINE doubles doubles_add(doubles a, doubles b)
{
	return _mm256_add_pd(a, b);
}

ALWAYS_INLINE doubles multiply_add(doubles a, doubles b, doubles c)
{
	return _mm256_fmadd_pd(a, b, c);
}

ALWAYS_INLINE void doubles_store(void *dst, doubles value)
{
	_mm256_storeu_pd(dst, value);
}

/*
 * To fp32, to odd: bits that fp32 lacks are cut off, and its last one is set if that lost anything. Rounding the result
 * once more to at most 22 bits gives what rounding the double would. Not below fp32's normal numbers, where the
 * processor would round in between: that is 0 in fp16, but not in bf16.
 */
ALWAYS_INLINE __m128 round_to_odd(doubles value)
{
	const __m256i bits = _mm256_castpd_si256(value), below = _mm256_set1_epi64x((1 << 29) - 1);
	const __m256i none = _mm256_cmpeq_epi64(_mm256_and_si256(bits, below), _mm256_setzero_si256());
	const __m256i odd = _mm256_andnot_si256(none, _mm256_set1_epi64x(1 << 29));

	return _mm256_cvtpd_ps(_mm256_castsi256_pd(_mm256_or_si256(_mm256_andnot_si256(below, bits), odd)));
}

/* True if one of them is a number other than 0 below 2^-126. */
ALWAYS_INLINE bool has_subnormals(doubles low, doubles high)
{
	const __m256d magnitude = _mm256_castsi256_pd(_mm256_set1_epi64x(INT64_MAX)), zero = _mm256_setzero_pd();
	const __m256d least = _mm256_set1_pd(0x1p-126);
	const __m256d a = _mm256_and_pd(low, magnitude), b = _mm256_and_pd(high, magnitude);
	const __m256d small =
	    _mm256_or_pd(_mm256_and_pd(_mm256_cmp_pd(a, least, _CMP_LT_OQ), _mm256_cmp_pd(a, zero, _CMP_GT_OQ)),
		_mm256_and_pd(_mm256_cmp_pd(b, least, _CMP_LT_OQ), _mm256_cmp_pd(b, zero, _CMP_GT_OQ)));

	return _mm256_movemask_pd(small) != 0;
}

static __attribute__((noinline)) void store_bf16_one_by_one(char *dst, const double *values)
{
	for (int i = 0; i < 2 * LANES; i++) {
		const uint16_t bits = bf16_of_double(values[i]);

		memcpy(dst + i * sizeof(bits), &bits, sizeof(bits));
	}
}

ALWAYS_INLINE void store_rounded(char *dst, doubles low, doubles high, enum dtype out)
{
	double values[2 * LANES];

	if (out == DTYPE_F32) {
		_mm256_storeu_ps((float *)dst,
		    canonical_nan(_mm256_set_m128(_mm256_cvtpd_ps(high), _mm256_cvtpd_ps(low))));
	} else if (out == DTYPE_BF16 && has_subnormals(low, high)) {
		doubles_store(values, low);
		doubles_store(values + LANES, high);
		store_bf16_one_by_one(dst, values);
	} else {
		_mm_storeu_si128((__m128i_u *)dst,
		    round16(canonical_nan(_mm256_set_m128(round_to_odd(high), round_to_odd(low))), out));
	}
}

#include "kernel/lora/lora_tile.h"

#define SPAN 2

typedef __m256 floats;

ALWAYS_INLINE floats floats_load(const float *at)
{
	return _mm256_loadu_ps(at);
}

ALWAYS_INLINE floats floats_all(float value)
{
	return _mm256_set1_ps(value);
}

ALWAYS_INLINE floats floats_multiply(floats a, floats b)
{
	return _mm256_mul_ps(a, b);
}

ALWAYS_INLINE floats floats_add(floats a, floats b)
{
	return _mm256_add_ps(a, b);
}

ALWAYS_INLINE floats floats_subtract(floats a, floats b)
{
	return _mm256_sub_ps(a, b);
}

ALWAYS_INLINE floats floats_magnitude(floats value)
{
	return _mm256_and_ps(value, _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MAX)));
}

ALWAYS_INLINE floats floats_multiply_add(floats a, floats b, floats c)
{
	return _mm256_fmadd_ps(a, b, c);
}

ALWAYS_INLINE bool store_low(char *dst, floats low, floats high, enum dtype out)
{
	/* The second operand if the first is a NaN. */
	const __m256 number = _mm256_max_ps(high, _mm256_set1_ps(-HUGE_VALF));
	const __m128i a = round16(low, out), b = round16(number, out);

	_mm_storeu_si128((__m128i_u *)dst, a);
	return _mm_movemask_epi8(_mm_cmpeq_epi16(a, b)) == 0xffff;
}

#include "kernel/lora/lora_bounded.h"

void lora_init_avx2(struct lora_dsp *dsp)
{
	lora_install(dsp);
	lora_bounded_install(dsp);
}

#endif
