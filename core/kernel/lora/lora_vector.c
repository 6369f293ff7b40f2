/* SPDX-License-Identifier: MIT */

/* 16-byte vectors as a compiler extension: 4 rows of 4 columns at a time. */

#if defined(__x86_64__) || defined(__aarch64__)

#include <string.h>

#include "kernel/element.h"
#include "kernel/simd/inline.h"

#define LANES 2
#define BLOCK_ROWS 4

typedef double doubles __attribute__((vector_size(16)));
typedef float floats2 __attribute__((vector_size(8)));

ALWAYS_INLINE doubles doubles_load(const double *at)
{
	doubles value;

	memcpy(&value, at, sizeof(value));
	return value;
}

ALWAYS_INLINE doubles doubles_widen(const float *at)
{
	floats2 value;

	memcpy(&value, at, sizeof(value));
	return __builtin_convertvector(value, doubles);
}

ALWAYS_INLINE doubles doubles_all(double value)
{
	return (doubles){value, value};
}

ALWAYS_INLINE doubles doubles_multiply(doubles a, doubles b)
{
	return a * b;
}

ALWAYS_INLINE doubles doubles_add(doubles a, doubles b)
{
	return a + b;
}

ALWAYS_INLINE doubles multiply_add(doubles a, doubles b, doubles c)
{
	return a * b + c;
}

ALWAYS_INLINE void doubles_store(void *dst, doubles value)
{
	memcpy(dst, &value, sizeof(value));
}

ALWAYS_INLINE void store_rounded(char *dst, doubles low, doubles high, enum dtype out)
{
	const double value[2 * LANES] = {low[0], low[1], high[0], high[1]};

	UNROLL
	for (int i = 0; i < 2 * LANES; i++) {
		const uint32_t bits = float_canonical(bits_of_float((float)value[i]));
		const uint16_t half = out == DTYPE_F16 ? half_of_double(value[i]) : bf16_of_double(value[i]);

		if (out == DTYPE_F32)
			memcpy(dst + i * sizeof(bits), &bits, sizeof(bits));
		else
			memcpy(dst + i * sizeof(half), &half, sizeof(half));
	}
}

#include "kernel/lora/lora_tile.h"

void lora_init_vector(struct lora_dsp *dsp)
{
	lora_install(dsp);
}

#endif
