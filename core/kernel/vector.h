/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_VECTOR_H
#define GPTQFS_VECTOR_H

/* 16-byte vectors as a compiler extension, for SSSE3 and NEON, and rounding as the contracts require. */

#if defined(__SSSE3__) || defined(__aarch64__)

#if defined(__x86_64__)
#include <tmmintrin.h>
#else
#include <arm_neon.h>
#endif

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/dtype.h"
#include "kernel/inline.h"

typedef uint8_t bytes16 __attribute__((vector_size(16)));
typedef uint16_t halves8 __attribute__((vector_size(16)));
typedef int16_t shorts8 __attribute__((vector_size(16)));
typedef uint64_t longs2 __attribute__((vector_size(16)));
typedef uint32_t words4 __attribute__((vector_size(16)));
typedef int32_t ints4 __attribute__((vector_size(16)));
typedef float floats4 __attribute__((vector_size(16)));

ALWAYS_INLINE bytes16 look_up(bytes16 table, bytes16 index)
{
#if defined(__x86_64__)
	return (bytes16)_mm_shuffle_epi8((__m128i)table, (__m128i)index);
#else
	return (bytes16)vqtbl1q_u8((uint8x16_t)table, (uint8x16_t)index);
#endif
}

/* True if any of 16 bytes that are 0 or 0xff is not 0. */
ALWAYS_INLINE bool any_byte(bytes16 bytes)
{
#if defined(__x86_64__)
	return _mm_movemask_epi8((__m128i)bytes) != 0;
#else
	return vmaxvq_u8((uint8x16_t)bytes) != 0;
#endif
}

ALWAYS_INLINE bytes16 zip_low8(bytes16 a, bytes16 b)
{
	return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

ALWAYS_INLINE bytes16 zip_high8(bytes16 a, bytes16 b)
{
	return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

ALWAYS_INLINE halves8 zip_low16(halves8 a, halves8 b)
{
	return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

ALWAYS_INLINE halves8 zip_high16(halves8 a, halves8 b)
{
	return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
}

ALWAYS_INLINE words4 zip_low32(words4 a, words4 b)
{
	return __builtin_shufflevector(a, b, 0, 4, 1, 5);
}

ALWAYS_INLINE words4 zip_high32(words4 a, words4 b)
{
	return __builtin_shufflevector(a, b, 2, 6, 3, 7);
}

ALWAYS_INLINE words4 zip_low64(words4 a, words4 b)
{
	return __builtin_shufflevector(a, b, 0, 1, 4, 5);
}

ALWAYS_INLINE words4 zip_high64(words4 a, words4 b)
{
	return __builtin_shufflevector(a, b, 2, 3, 6, 7);
}

ALWAYS_INLINE void transpose4(words4 to[4], words4 a, words4 b, words4 c, words4 d)
{
	const words4 ab_low = zip_low32(a, b), ab_high = zip_high32(a, b);
	const words4 cd_low = zip_low32(c, d), cd_high = zip_high32(c, d);

	to[0] = zip_low64(ab_low, cd_low);
	to[1] = zip_high64(ab_low, cd_low);
	to[2] = zip_low64(ab_high, cd_high);
	to[3] = zip_high64(ab_high, cd_high);
}

ALWAYS_INLINE words4 choose(ints4 mask, words4 yes, words4 no)
{
	return ((words4)mask & yes) | (~(words4)mask & no);
}

/* By multiplication, which keeps subnormals and normalizes them; inf and NaN keep their all-ones exponent. */
ALWAYS_INLINE words4 widen_half(words4 half)
{
	const words4 man_exp = (half & 0x7fff) << 13, sign = (half & 0x8000) << 16;
	const words4 finite = (words4)((floats4)man_exp * 0x1p112f);

	return sign | choose((ints4)man_exp >= 0x0f800000, man_exp | 0x7f800000, finite);
}

/* Rounds to fp16 in the low half of each element, to nearest even. Keeps canonical NaNs if it checks for NaN. */
ALWAYS_INLINE words4 narrow_half(words4 bits, bool finite)
{
#if defined(__aarch64__)
	(void)finite;
	return (words4)vmovl_u16(vreinterpret_u16_f16(vcvt_f16_f32(vreinterpretq_f32_u32((uint32x4_t)bits))));
#else
	const words4 sign = bits >> 16 & 0x8000, nan = {0x7e00, 0x7e00, 0x7e00, 0x7e00};
	/* Anything beyond the range is as good as 65536, which the arithmetic below turns into inf. */
	const words4 magnitude = (words4)_mm_min_ps((__m128)(bits & 0x7fffffff), _mm_set1_ps(65536));
	/* Below 2^-14, the last bit of fp16 has the weight of the last bit of the float 0.5. */
	const words4 subnormal = (words4)((floats4)magnitude + 0.5f) - 0x3f000000;
	const words4 normal = (magnitude + (magnitude >> 13 & 1) + 0xfff - (112 << 23)) >> 13;
	const words4 half = sign | choose((ints4)magnitude < 0x38800000, subnormal, normal);

	return finite ? half : choose((floats4)bits != (floats4)bits, nan, half);
#endif
}

/* The same for what is neither negative nor NaN; the other half of each element has no meaning. */
ALWAYS_INLINE words4 narrow_magnitude(words4 bits)
{
#if defined(__aarch64__)
	return narrow_half(bits, true);
#else
	const words4 magnitude = (words4)_mm_min_ps((__m128)bits, _mm_set1_ps(65536));
	/* A float 2^13 times as large, and at least 0.5, has its last bit where fp16 has it; its exponent tells that of
	 * fp16. */
	const words4 step = (words4)_mm_max_ps((__m128)((magnitude & 0x7f800000) + (13 << 23)), _mm_set1_ps(0.5f));
	const words4 rounded = (words4)((floats4)magnitude + (floats4)step);

	return rounded + (rounded >> 13) - (126 << 10);
#endif
}

/* narrow_half of fp16's normal numbers, and 0. */
ALWAYS_INLINE words4 narrow_plain(words4 bits)
{
#if defined(__aarch64__)
	return narrow_half(bits, true);
#else
	const words4 sign = bits >> 16 & 0x8000;
	/* Half of the smallest becomes 0, as 0 does. */
	const words4 magnitude = (words4)_mm_max_ps((__m128)(bits & 0x7fffffff), _mm_set1_ps(0x1p-15f));

	return sign | (magnitude + (magnitude >> 13 & 1) + 0xfff - (112 << 23)) >> 13;
#endif
}

ALWAYS_INLINE words4 canonical_nan(floats4 value)
{
	return choose((ints4)(value != value), (words4){0} + 0x7fc00000, (words4)value);
}

/* Rounds floats to fp16 or bf16 in the low half of each element. NaNs must be canonical or absent. */
ALWAYS_INLINE words4 round16(words4 bits, enum dtype out, bool finite)
{
	if (out == DTYPE_F16)
		return narrow_half(bits, finite);
	return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

ALWAYS_INLINE halves8 narrow_pair(words4 low, words4 high)
{
	return __builtin_shufflevector((halves8)low, (halves8)high, 0, 2, 4, 6, 8, 10, 12, 14);
}

/* Properties of the floats to be rounded. */
enum floats_kind {
	FLOATS_ANY,
	FLOATS_NUMBERS, /* none is NaN */
	FLOATS_PLAIN,   /* all are normal numbers in fp16, or 0 */
};

/* Four outputs: 32 bits, or 16 in the low half of each element. */
ALWAYS_INLINE words4 round_floats4(floats4 value, enum dtype out, enum floats_kind kind)
{
	const words4 bits = kind == FLOATS_ANY ? canonical_nan(value) : (words4)value;

	if (out == DTYPE_F32)
		return bits;
	if (out == DTYPE_F16 && kind == FLOATS_PLAIN)
		return narrow_plain(bits);
	return round16(bits, out, kind != FLOATS_ANY);
}

/* Stores 8 outputs. */
ALWAYS_INLINE void store_floats8(char *dst, floats4 low, floats4 high, enum dtype out, enum floats_kind kind)
{
	const words4 both[2] = {round_floats4(low, out, kind), round_floats4(high, out, kind)};
	halves8 half;

	if (out == DTYPE_F32) {
		memcpy(dst, both, sizeof(both));
		return;
	}
	half = narrow_pair(both[0], both[1]);
	memcpy(dst, &half, sizeof(half));
}

#endif

#endif
