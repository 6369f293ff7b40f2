/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_NIBBLES_VECTOR_H
#define GPTQFS_NIBBLES_VECTOR_H

/* A table of 16 outputs is one of 16 bytes for each byte of them. */

#if defined(__SSSE3__) || defined(__aarch64__)

#include "kernel/nibbles.h"
#include "kernel/vector.h"

struct nibble_table {
	bytes16 byte[4]; /* of 16-bit outputs two */
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

ALWAYS_INLINE void nibble_table_make(struct nibble_table *table, float zero, float scale, struct nibble_kind kind,
    enum floats_kind known)
{
	words4 out[4], low[2], high[2];

	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		const floats4 code = (floats4){0, 1, 2, 3} + (float)(4 * i);

		out[i] = round_floats4(kind.plus ? code * scale + zero : (code - zero) * scale, kind.out, known);
	}
	for (unsigned i = 0; i < 2; i++) {
		low[i] = (words4)narrow_pair(out[2 * i], out[2 * i + 1]);
		high[i] = (words4)narrow_pair(out[2 * i] >> 16, out[2 * i + 1] >> 16);
	}
	table->byte[0] = even_bytes(low[0], low[1]);
	table->byte[1] = odd_bytes(low[0], low[1]);
	if (kind.out != DTYPE_F32)
		return;
	table->byte[2] = even_bytes(high[0], high[1]);
	table->byte[3] = odd_bytes(high[0], high[1]);
}

/* True if every code less a zero that is a code too, times the scale, is 0 or a normal number in fp16. */
ALWAYS_INLINE bool nibble_is_plain(float zero, float scale)
{
	const float size = scale < 0 ? -scale : scale;

	return size >= 0x1p-14f && size < 0x1p10f && zero >= 0 && zero <= 15 && zero == (float)(int)zero;
}

ALWAYS_INLINE void nibble_table_build(struct nibble_table *table, float zero, float scale, struct nibble_kind kind)
{
	if (kind.out == DTYPE_F16 && !kind.plus && nibble_is_plain(zero, scale))
		nibble_table_make(table, zero, scale, kind, FLOATS_PLAIN);
	else
		nibble_table_make(table, zero, scale, kind, FLOATS_ANY);
}

/* 16 outputs. */
ALWAYS_INLINE void nibble_expand_half(char *dst, bytes16 codes, const struct nibble_table *table, enum dtype out)
{
	const bytes16 a = look_up(table->byte[0], codes), b = look_up(table->byte[1], codes);
	const halves8 low[2] = {(halves8)zip_low8(a, b), (halves8)zip_high8(a, b)};
	bytes16 c, d;
	halves8 high[2];

	if (out != DTYPE_F32) {
		memcpy(dst, low, sizeof(low));
		return;
	}
	c = look_up(table->byte[2], codes);
	d = look_up(table->byte[3], codes);
	high[0] = (halves8)zip_low8(c, d);
	high[1] = (halves8)zip_high8(c, d);
	UNROLL
	for (unsigned i = 0; i < 2; i++) {
		const halves8 both[2] = {zip_low16(low[i], high[i]), zip_high16(low[i], high[i])};

		memcpy(dst + i * sizeof(both), both, sizeof(both));
	}
}

ALWAYS_INLINE void nibble_expand(char *dst, nibble_codes codes, const struct nibble_table *table, uint32_t count,
    enum dtype out)
{
	const size_t size = out == DTYPE_F32 ? 4 : 2;
	char spare[NIBBLE_CODES * sizeof(float)], *to = count == NIBBLE_CODES ? dst : spare;

	nibble_expand_half(to, codes.half[0], table, out);
	nibble_expand_half(to + NIBBLE_CODES / 2 * size, codes.half[1], table, out);
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
