/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_HALF_H
#define GPTQFS_HALF_H

/*
 * Conversions between fp16, bf16, fp32 and fp64, and from the 8-bit floats, in integer arithmetic: exact, subnormals
 * included, with one rounding to nearest even, independent of the CPU and its modes. NaN becomes the canonical NaN of
 * the target type.
 */

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define HALF_NAN 0x7e00u
#define BF16_NAN 0x7fc0u
#define FLOAT_NAN 0x7fc00000u

static inline float float_of_bits(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof(value));
	return value;
}

static inline uint32_t bits_of_float(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return bits;
}

/* A binary interchange format: sign, exponent, mantissa. */
struct float_format {
	unsigned exp_bits;
	unsigned man_bits;
};

static const struct float_format format_half = {5, 10}, format_bf16 = {8, 7}, format_float = {8, 23},
				 format_double = {11, 52};

/* Rounds a value to a format with fewer mantissa bits and no more exponent bits. */
static inline uint64_t float_narrow(uint64_t bits, struct float_format from, struct float_format to)
{
	const int bias_change = (1 << (from.exp_bits - 1)) - (1 << (to.exp_bits - 1));
	const uint64_t infinity = ((1ull << to.exp_bits) - 1) << to.man_bits;
	const uint64_t sign = bits >> (from.exp_bits + from.man_bits) << (to.exp_bits + to.man_bits);
	int exp = (int)(bits >> from.man_bits & ((1u << from.exp_bits) - 1));
	uint64_t man = bits & ((1ull << from.man_bits) - 1);
	unsigned shift = from.man_bits - to.man_bits;
	uint64_t kept, lost, half;

	if (exp == (1 << from.exp_bits) - 1)
		return man ? infinity | 1ull << (to.man_bits - 1) : sign | infinity;
	if (exp)
		man |= 1ull << from.man_bits;
	exp = (exp ? exp : 1) - bias_change;
	if (exp < 1) {
		shift = shift + 1 - exp < 63 ? shift + 1 - exp : 63;
		exp = 1;
	}
	half = 1ull << (shift - 1);
	kept = man >> shift;
	lost = man & ((half << 1) - 1);
	kept += lost > half || (lost == half && (kept & 1));
	/* The leading one, if any, makes up for the 1 subtracted; a carry goes into the exponent as it should. */
	kept += (uint64_t)(exp - 1) << to.man_bits;
	return sign | (kept < infinity ? kept : infinity);
}

static inline uint16_t half_of_float(float value)
{
	return float_narrow(bits_of_float(value), format_float, format_half);
}

static inline uint16_t bf16_of_float(float value)
{
	return float_narrow(bits_of_float(value), format_float, format_bf16);
}

static inline uint16_t half_of_double(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return float_narrow(bits, format_double, format_half);
}

static inline uint16_t bf16_of_double(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return float_narrow(bits, format_double, format_bf16);
}

static inline uint32_t float_bits_of_double(double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof(bits));
	return float_narrow(bits, format_double, format_float);
}

/* Returns the bits of a float, NaN made canonical. */
static inline uint32_t float_canonical(uint32_t bits)
{
	return (bits & 0x7fffffff) > 0x7f800000 ? FLOAT_NAN : bits;
}

static inline float float_of_half(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16, exp = half >> 10 & 31, man = half & 0x3ff;

	if (exp == 31)
		return float_of_bits(man ? FLOAT_NAN : sign | 0x7f800000);
	if (exp == 0 && man) {
		unsigned up = __builtin_clz(man) - 21;

		exp = 1 - up;
		man = man << up & 0x3ff;
	} else if (exp == 0) {
		return float_of_bits(sign);
	}
	return float_of_bits(sign | (exp + 112) << 23 | man << 13);
}

static inline float float_of_bf16(uint16_t bf16)
{
	return float_of_bits(float_canonical((uint32_t)bf16 << 16));
}

/* Exponent bias 7, no inf; 0x7f and 0xff are NaN. */
static inline float float_of_e4m3(uint8_t code)
{
	const uint32_t sign = (uint32_t)(code & 0x80) << 24, exp = code >> 3 & 15, man = code & 7;
	unsigned up;

	if ((code & 0x7f) == 0x7f)
		return float_of_bits(FLOAT_NAN);
	if (exp)
		return float_of_bits(sign | (exp + 120) << 23 | man << 20);
	if (man == 0)
		return float_of_bits(sign);
	up = __builtin_clz(man) - 28; /* until the leading one is where normal numbers have it */
	return float_of_bits(sign | (121 - up) << 23 | (man << up & 7) << 20);
}

/* Sign, 2 exponent bits with bias 1, man_bits of mantissa; no inf, no NaN: E2M1 and E2M3. */
static inline float float_of_e2(uint32_t code, unsigned man_bits)
{
	const uint32_t one = 1u << man_bits, magnitude = code & (4 * one - 1);
	const uint32_t steps = magnitude < one ? magnitude : (one | magnitude % one) << (magnitude / one - 1);
	const float value = (float)steps / (float)one;

	return code & 4 * one ? -value : value;
}

/* The high byte of an fp16. */
static inline float float_of_e5m2(uint8_t code)
{
	return float_of_half((uint16_t)(code << 8));
}

/* An exponent only: 2^(code - 127); 255 is NaN. */
static inline float float_of_e8m0(uint8_t code)
{
	return float_of_bits(code == 255 ? FLOAT_NAN : code ? (uint32_t)code << 23 : 1u << 22);
}

#endif
