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
#include "kernel/simd/inline.h"

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

/*
 * Rounds floats that are not negative to fp16, to nearest even, in the low half of each element; the other half has no
 * meaning. NaN becomes something else.
 *
 * A float 2^13 times as large, and at least 0.5, has its last bit where fp16 has it; its exponent is fp16's plus a
 * constant, which is in its last bits already.
 */
ALWAYS_INLINE words4 narrow_magnitude(words4 bits)
{
#if defined(__aarch64__)
	return (words4)vmovl_u16(vreinterpret_u16_f16(vcvt_f16_f32(vreinterpretq_f32_u32((uint32x4_t)bits))));
#else
	/* Anything out of range may become 65536, and then inf. */
	const words4 magnitude = (words4)_mm_min_ps((__m128)bits, _mm_set1_ps(65536));
	const words4 step = (magnitude & 0x7f800000) + (13 << 23) + 0x800, least = (words4){0} + 0x3f000800;
	const words4 rounded = (words4)((floats4)magnitude + (floats4)_mm_max_ps((__m128)step, (__m128)least));

	return rounded + (rounded >> 13);
#endif
}

/* Rounds to fp16 in the low half of each element, to nearest even. Keeps canonical NaNs if it checks for NaN. */
ALWAYS_INLINE words4 narrow_half(words4 bits, bool finite)
{
#if defined(__aarch64__)
	(void)finite;
	return narrow_magnitude(bits);
#else
	const words4 magnitude = bits & 0x7fffffff, sign = (bits ^ magnitude) >> 16;
	const words4 half = sign | (narrow_magnitude(magnitude) & 0xffff), nan = (words4){0} + 0x7e00;

	return finite ? half : choose((floats4)bits != (floats4)bits, nan, half);
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

/* Narrows elements that are sign-extended halves. */
ALWAYS_INLINE halves8 narrow_signed(words4 low, words4 high)
{
#if defined(__x86_64__)
	return (halves8)_mm_packs_epi32((__m128i)low, (__m128i)high);
#else
	return narrow_pair(low, high);
#endif
}

ALWAYS_INLINE bool any_nan(floats4 a, floats4 b)
{
#if defined(__x86_64__)
	return _mm_movemask_ps(_mm_cmpunord_ps((__m128)a, (__m128)b)) != 0;
#else
	return any_byte((bytes16)((a != a) | (b != b)));
#endif
}

/* 8 floats as fp16; any NaN becomes something else. */
ALWAYS_INLINE halves8 halves_of(words4 low, words4 high)
{
#if defined(__aarch64__)
	return narrow_pair(narrow_magnitude(low), narrow_magnitude(high));
#else
	const halves8 sign = narrow_signed((words4)((ints4)low >> 16), (words4)((ints4)high >> 16)) & 0x8000;

	return sign | narrow_pair(narrow_magnitude(low & 0x7fffffff), narrow_magnitude(high & 0x7fffffff));
#endif
}

/* The same as bf16. */
ALWAYS_INLINE halves8 bf16s_of(words4 low, words4 high)
{
	low += 0x7fff + (low >> 16 & 1);
	high += 0x7fff + (high >> 16 & 1);
	return narrow_signed((words4)((ints4)low >> 16), (words4)((ints4)high >> 16));
}

/* Rounds 8 floats to fp16 or bf16, NaNs made canonical; `numbers`: there are none. */
ALWAYS_INLINE halves8 round_floats8(floats4 low, floats4 high, enum dtype out, bool numbers)
{
	const halves8 half =
	    out == DTYPE_F16 ? halves_of((words4)low, (words4)high) : bf16s_of((words4)low, (words4)high);
	halves8 nan;

	if (numbers || __builtin_expect(!any_nan(low, high), 1))
		return half;
	nan = narrow_signed((words4)(low != low), (words4)(high != high));
	return (half & ~nan) | (nan & (uint16_t)(out == DTYPE_F16 ? 0x7e00 : 0x7fc0));
}

/* Stores 8 outputs. */
ALWAYS_INLINE void store_floats8(char *dst, floats4 low, floats4 high, enum dtype out, bool numbers)
{
	const words4 both[2] = {
	    numbers ? (words4)low : canonical_nan(low), numbers ? (words4)high : canonical_nan(high)};
	const halves8 half = round_floats8(low, high, out, numbers);

	if (out == DTYPE_F32)
		memcpy(dst, both, sizeof(both));
	else
		memcpy(dst, &half, sizeof(half));
}

/* ---- outputs of 16 codes ---- */

/* byte[i] holds byte i of each output; outputs of 16 bits have two. */
struct byte_tables {
	bytes16 byte[4];
};

/* Rounds the values of the codes, NaNs made canonical; `numbers`: there are none. */
ALWAYS_INLINE struct byte_tables byte_tables_of(const floats4 value[4], enum dtype out, bool numbers)
{
	const bytes16 by2 = {0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15};
	const bytes16 by4 = {0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
	struct byte_tables tables;
	words4 row[4], column[4];

	if (out != DTYPE_F32) {
		row[0] = (words4)look_up((bytes16)round_floats8(value[0], value[1], out, numbers), by2);
		row[1] = (words4)look_up((bytes16)round_floats8(value[2], value[3], out, numbers), by2);
		tables.byte[0] = (bytes16)zip_low64(row[0], row[1]);
		tables.byte[1] = (bytes16)zip_high64(row[0], row[1]);
		return tables;
	}
	UNROLL
	for (unsigned i = 0; i < 4; i++)
		row[i] = (words4)look_up((bytes16)(numbers ? (words4)value[i] : canonical_nan(value[i])), by4);
	transpose4(column, row[0], row[1], row[2], row[3]);
	memcpy(tables.byte, column, sizeof(column));
	return tables;
}

/* Stores the outputs of 16 codes. */
ALWAYS_INLINE void byte_tables_expand(char *dst, bytes16 codes, const struct byte_tables *tables, enum dtype out)
{
	const bytes16 a = look_up(tables->byte[0], codes), b = look_up(tables->byte[1], codes);
	const halves8 low[2] = {(halves8)zip_low8(a, b), (halves8)zip_high8(a, b)};
	bytes16 c, d;
	halves8 high[2];

	if (out != DTYPE_F32) {
		memcpy(dst, low, sizeof(low));
		return;
	}
	c = look_up(tables->byte[2], codes);
	d = look_up(tables->byte[3], codes);
	high[0] = (halves8)zip_low8(c, d);
	high[1] = (halves8)zip_high8(c, d);
	UNROLL
	for (unsigned i = 0; i < 2; i++) {
		const halves8 both[2] = {zip_low16(low[i], high[i]), zip_high16(low[i], high[i])};

		memcpy(dst + i * sizeof(both), both, sizeof(both));
	}
}

/* Decodes 32 codes with a scale and an offset each: (code - offset) * scale, or with `biases` code * scale + offset. */
ALWAYS_INLINE void decode_each32(char *dst, const uint8_t *code, const float *scale, const float *offset, bool biases,
    enum dtype out)
{
	/* Codes become floats by the bits put before them, which add 2^23. */
	const halves8 before = (halves8){0} + 0x4b00;
	const bytes16 none = {0};

	UNROLL
	for (unsigned i = 0; i < 32; i += 8) {
		floats4 s[2], o[2], value[2];
		bytes16 bytes;
		halves8 wide;

		memcpy(&bytes, code + i / 16 * 16, sizeof(bytes));
		memcpy(s, scale + i, sizeof(s));
		memcpy(o, offset + i, sizeof(o));
		wide = (halves8)(i % 16 ? zip_high8(bytes, none) : zip_low8(bytes, none));
		value[0] = (floats4)zip_low16(wide, before) - 0x1p23f;
		value[1] = (floats4)zip_high16(wide, before) - 0x1p23f;
		UNROLL
		for (unsigned k = 0; k < 2; k++)
			value[k] = biases ? value[k] * s[k] + o[k] : (value[k] - o[k]) * s[k];
		store_floats8(dst + i * out_bytes(out), value[0], value[1], out, false);
	}
}

#endif

#endif
