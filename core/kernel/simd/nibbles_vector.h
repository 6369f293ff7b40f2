/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_NIBBLES_VECTOR_H
#define GPTQFS_NIBBLES_VECTOR_H

#if defined(__SSSE3__) || defined(__aarch64__)

#include "kernel/simd/nibbles.h"
#include "kernel/simd/vector.h"

struct nibble_table {
	struct byte_tables bytes;
};

/* A byte each: 0 to 15, 16 to 31. */
typedef struct {
	bytes16 half[2];
} nibble_codes;

ALWAYS_INLINE bytes16 even_bytes(words4 a, words4 b)
{
	return __builtin_shufflevector((bytes16)a, (bytes16)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28,
	    30);
}

ALWAYS_INLINE bytes16 odd_bytes(words4 a, words4 b)
{
	return __builtin_shufflevector((bytes16)a, (bytes16)b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29,
	    31);
}

ALWAYS_INLINE void nibble_table_build(struct nibble_table *table, float zero, float scale, struct nibble_kind kind)
{
	floats4 value[4];

	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		const floats4 code = (floats4){0, 1, 2, 3} + (float)(4 * i);

		value[i] = kind.plus ? code * scale + zero : (code - zero) * scale;
	}
	table->bytes = byte_tables_of(value, kind.out, kind.finite);
}

ALWAYS_INLINE void nibble_expand(char *dst, nibble_codes codes, const struct nibble_table *table, uint32_t count,
    enum dtype out)
{
	const size_t size = out_bytes(out);
	char spare[NIBBLE_CODES * sizeof(float)], *to = count == NIBBLE_CODES ? dst : spare;

	byte_tables_expand(to, codes.half[0], &table->bytes, out);
	byte_tables_expand(to + NIBBLE_CODES / 2 * size, codes.half[1], &table->bytes, out);
	if (count != NIBBLE_CODES)
		memcpy(dst, spare, count * size);
}

ALWAYS_INLINE void nibble_floats(float *to, const unsigned char *src, uint32_t n, enum dtype dtype)
{
	const halves8 none = {0};
	halves8 half = {0};
	words4 wide[2];

	if (dtype == DTYPE_F32) {
		memcpy(to, src, n * sizeof(*to));
		return;
	}
	if (n == NIBBLE_RUN)
		memcpy(&half, src, sizeof(half));
	else
		memcpy(&half, src, n * 2);
	wide[0] = (words4)zip_low16(half, none);
	wide[1] = (words4)zip_high16(half, none);
	for (unsigned i = 0; i < 2; i++)
		wide[i] = dtype == DTYPE_F16 ? widen_half(wide[i]) : wide[i] << 16;
	memcpy(to, wide, sizeof(wide));
}

#endif

#endif
