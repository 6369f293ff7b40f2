/* SPDX-License-Identifier: MIT */

/* The reference casts: one rounding each, with the integer conversions of half.h. */

#include "kernel/cast.h"

#include <string.h>

#include "base/half.h"

/* Defines a cast_fn that loads elements of type `from`, and stores `expr` of each (`x`) as type `to`. */
#define DEFINE_CAST(name, from, to, expr)                                         \
	static void name(void *dst, const void *src, size_t n)                    \
	{                                                                         \
		for (size_t i = 0; i < n; i++) {                                  \
			from x;                                                   \
			to y;                                                     \
                                                                                  \
			memcpy(&x, (const char *)src + i * sizeof(x), sizeof(x)); \
			y = expr;                                                 \
			memcpy((char *)dst + i * sizeof(y), &y, sizeof(y));       \
		}                                                                 \
	}

DEFINE_CAST(f16_to_bf16, uint16_t, uint16_t, bf16_of_float(float_of_half(x)))
DEFINE_CAST(f16_to_f32, uint16_t, uint32_t, bits_of_float(float_of_half(x)))
DEFINE_CAST(bf16_to_f16, uint16_t, uint16_t, half_of_float(float_of_bf16(x)))
DEFINE_CAST(bf16_to_f32, uint16_t, uint32_t, bits_of_float(float_of_bf16(x)))
DEFINE_CAST(f32_to_f16, float, uint16_t, half_of_float(x))
DEFINE_CAST(f32_to_bf16, float, uint16_t, bf16_of_float(x))
DEFINE_CAST(f64_to_f16, double, uint16_t, half_of_double(x))
DEFINE_CAST(f64_to_bf16, double, uint16_t, bf16_of_double(x))
DEFINE_CAST(f64_to_f32, double, uint32_t, float_bits_of_double(x))

DEFINE_CAST(e4m3_to_f16, uint8_t, uint16_t, half_of_float(float_of_e4m3(x)))
DEFINE_CAST(e4m3_to_bf16, uint8_t, uint16_t, bf16_of_float(float_of_e4m3(x)))
DEFINE_CAST(e4m3_to_f32, uint8_t, uint32_t, bits_of_float(float_of_e4m3(x)))
DEFINE_CAST(e5m2_to_f16, uint8_t, uint16_t, half_of_float(float_of_e5m2(x)))
DEFINE_CAST(e5m2_to_bf16, uint8_t, uint16_t, bf16_of_float(float_of_e5m2(x)))
DEFINE_CAST(e5m2_to_f32, uint8_t, uint32_t, bits_of_float(float_of_e5m2(x)))

static void copy16(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n * 2);
}

static void copy32(void *dst, const void *src, size_t n)
{
	memcpy(dst, src, n * 4);
}

cast_fn *const cast_reference[DTYPE_CASTS][DTYPE_VIEWS] = {
    [DTYPE_F16] = {copy16, f16_to_bf16, f16_to_f32},
    [DTYPE_BF16] = {bf16_to_f16, copy16, bf16_to_f32},
    [DTYPE_F32] = {f32_to_f16, f32_to_bf16, copy32},
    [DTYPE_F64] = {f64_to_f16, f64_to_bf16, f64_to_f32},
    [DTYPE_F8_E4M3] = {e4m3_to_f16, e4m3_to_bf16, e4m3_to_f32},
    [DTYPE_F8_E5M2] = {e5m2_to_f16, e5m2_to_bf16, e5m2_to_f32},
};
