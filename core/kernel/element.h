/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ELEMENT_H
#define GPTQFS_ELEMENT_H

/* Access to single elements of unaligned arrays, in plain C, for the references. */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/dtype.h"
#include "base/half.h"

/* As dtype_bytes, for the types below; inline, since kernels load scales one by one. */
static inline size_t element_bytes(enum dtype dtype)
{
	return dtype == DTYPE_F32 ? 4 : dtype == DTYPE_F16 || dtype == DTYPE_BF16 ? 2 : 1;
}

/* Returns element i of an array of F32, F16, BF16, F8_E4M3, F8_E5M2 or F8_E8M0 as a float, exactly. */
static inline float element_load(const void *array, size_t i, enum dtype dtype)
{
	const size_t bytes = element_bytes(dtype);
	uint32_t bits = 0;

	memcpy(&bits, (const unsigned char *)array + i * bytes, bytes);
	switch (dtype) {
	case DTYPE_F16:
		return float_of_half((uint16_t)bits);
	case DTYPE_BF16:
		return float_of_bf16((uint16_t)bits);
	case DTYPE_F8_E4M3:
		return float_of_e4m3((uint8_t)bits);
	case DTYPE_F8_E5M2:
		return float_of_e5m2((uint8_t)bits);
	case DTYPE_F8_E8M0:
		return float_of_e8m0((uint8_t)bits);
	default:
		return float_of_bits(bits);
	}
}

/* Returns element i of an array of F16, BF16 or F32 as the bits of an fp16; the value must be exactly one. */
static inline uint16_t element_half(const void *array, size_t i, enum dtype dtype)
{
	uint16_t half;

	if (dtype != DTYPE_F16)
		return half_of_float(element_load(array, i, dtype));
	memcpy(&half, (const unsigned char *)array + i * 2, 2);
	return half;
}

/* Stores element i of an array of F16, BF16 or F32, rounded to nearest even, NaN made canonical. */
static inline void element_store(void *array, size_t i, float value, enum dtype dtype)
{
	const uint32_t bits = float_canonical(bits_of_float(value));
	const uint16_t half = dtype == DTYPE_F16 ? half_of_float(value) : bf16_of_float(value);

	if (dtype == DTYPE_F32)
		memcpy((char *)array + i * 4, &bits, 4);
	else
		memcpy((char *)array + i * 2, &half, 2);
}

#endif
