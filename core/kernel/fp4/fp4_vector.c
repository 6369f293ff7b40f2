/* SPDX-License-Identifier: MIT */

/*
 * Vectors of 16 bytes: SSSE3 and NEON. Outputs of 16 bits are looked up as two tables of bytes. For fp32 the upper
 * bytes of the codes' values are looked up, and each value is multiplied.
 */

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__x86_64__) && !defined(__SSSE3__)
#error "compile with -mssse3"
#endif

#include "kernel/simd/vector.h"

/* Low and high bytes of 16-bit outputs; for fp32 of bf16 values, and the scale. */
struct fp4_outputs {
	bytes16 low, high;
	float scale;
};

#define FP4_LANES 1

#include "kernel/fp4/fp4_groups.h"

ALWAYS_INLINE struct fp4_outputs fp4_outputs_of(float scale, enum dtype out)
{
	const bytes16 even = {0, 2, 4, 6, 8, 10, 12, 14, 128, 128, 128, 128, 128, 128, 128, 128}, odd = even + 1;
	const float by = out == DTYPE_F32 ? 1 : scale;
	const enum dtype type = out == DTYPE_F32 ? DTYPE_BF16 : out;
	const floats4 small = {0, 0.5f, 1, 1.5f}, large = {2, 3, 4, 6};
	const halves8 plus = round_floats8(small * by, large * by, type, false);
	const halves8 minus = round_floats8(-small * by, -large * by, type, false);
	const bytes16 a = (bytes16)plus, b = (bytes16)minus;

	return (struct fp4_outputs){.low = (bytes16)zip_low64((words4)look_up(a, even), (words4)look_up(b, even)),
	    .high = (bytes16)zip_low64((words4)look_up(a, odd), (words4)look_up(b, odd)),
	    .scale = scale};
}

/* Four of 8 values, whose upper halves these are, times scale. */
ALWAYS_INLINE void fp4_store4(char *dst, halves8 upper, unsigned first, float scale)
{
	const halves8 none = {0};
	const words4 bits = (words4)(first ? __builtin_shufflevector(none, upper, 4, 12, 5, 13, 6, 14, 7, 15)
					   : __builtin_shufflevector(none, upper, 0, 8, 1, 9, 2, 10, 3, 11));
	const words4 product = canonical_nan((floats4)bits * scale);

	memcpy(dst + first * 4, &product, sizeof(product));
}

/* 16 codes. */
ALWAYS_INLINE void fp4_look_up16(char *dst, bytes16 codes, const struct fp4_outputs *outputs, enum dtype out)
{
	const bytes16 low = look_up(outputs->low, codes), high = look_up(outputs->high, codes);
	const bytes16 pair[2] = {zip_low8(low, high), zip_high8(low, high)};

	if (out != DTYPE_F32) {
		memcpy(dst, pair, sizeof(pair));
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		fp4_store4(dst + i * 32, (halves8)pair[i], 0, outputs->scale);
		fp4_store4(dst + i * 32, (halves8)pair[i], 4, outputs->scale);
	}
}

ALWAYS_INLINE void fp4_look_up(char *dst, const unsigned char *codes, const struct fp4_outputs *first,
    const struct fp4_outputs *second, enum dtype out)
{
	bytes16 both, even, odd;

	memcpy(&both, codes, sizeof(both));
	even = both & 15;
	odd = both >> 4;
	fp4_look_up16(dst, zip_low8(even, odd), first, out);
	fp4_look_up16(dst + 16 * out_bytes(out), zip_high8(even, odd), second ? second : first, out);
}

/* Magnitudes of codes of 6 bits. */
ALWAYS_INLINE floats4 fp6_magnitudes(words4 code)
{
	const words4 magnitude = code & 31, bits = (magnitude << 20) + 0x3f000000;
	/* Eighths below 1: as large as 1 more, less 1. */
	const words4 small = (words4)((ints4)magnitude < 8);

	return (floats4)(bits + (small & 0x800000)) - (floats4)(small & 0x3f800000);
}

/* Outputs of four codes, in the low halves of elements if they are of 16 bits; `scale` is not NaN. */
ALWAYS_INLINE words4 fp6_outputs(words4 code, float scale, enum dtype out)
{
	const words4 product = (words4)(fp6_magnitudes(code) * scale), sign = code & 32;

	if (out == DTYPE_F16)
		return (narrow_magnitude(product) & 0xffff) | sign << 10;
	return out == DTYPE_F32 ? product | sign << 26 : product >> 16 | sign << 10;
}

/* 16 codes, which are 12 bytes: number 4 * i + j is at bit 6 * j of element i. */
ALWAYS_INLINE void fp6_decode16(char *dst, const unsigned char *codes, float scale, enum dtype out)
{
	const bytes16 threes = {0, 1, 2, 128, 3, 4, 5, 128, 6, 7, 8, 128, 9, 10, 11, 128};
	words4 four, result[4], column[4];
	uint64_t low;
	uint32_t high;

	memcpy(&low, codes, sizeof(low));
	memcpy(&high, codes + sizeof(low), sizeof(high));
	four = (words4)look_up((bytes16)(longs2){low, high}, threes);
	UNROLL
	for (unsigned j = 0; j < 4; j++)
		result[j] = fp6_outputs(four >> 6 * j, scale, out);
	if (out == DTYPE_F32) {
		transpose4(column, result[0], result[1], result[2], result[3]);
		memcpy(dst, column, 64);
		return;
	}
	result[0] |= result[1] << 16;
	result[2] |= result[3] << 16;
	column[0] = zip_low32(result[0], result[2]);
	column[1] = zip_high32(result[0], result[2]);
	memcpy(dst, column, 32);
}

ALWAYS_INLINE void fp6_decode_unit(char *dst, const unsigned char *codes, float scale, enum dtype out)
{
	if (scale != scale) {
		for (size_t i = 0; i < FP4_UNIT; i++)
			element_store(dst, i, scale, out);
		return;
	}
	fp6_decode16(dst, codes, scale, out);
	fp6_decode16(dst + 16 * out_bytes(out), codes + 12, scale, out);
}

/* ---- transposing ---- */

/* Three times the shuffle that puts row i + 4 between row i and the next. */
ALWAYS_INLINE void transpose8(halves8 to[8], const halves8 from[8])
{
	halves8 a[8], b[8];

	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		a[2 * i] = zip_low16(from[i], from[i + 4]);
		a[2 * i + 1] = zip_high16(from[i], from[i + 4]);
	}
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		b[2 * i] = zip_low16(a[i], a[i + 4]);
		b[2 * i + 1] = zip_high16(a[i], a[i + 4]);
	}
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		to[2 * i] = zip_low16(b[i], b[i + 4]);
		to[2 * i + 1] = zip_high16(b[i], b[i + 4]);
	}
}

ALWAYS_INLINE void fp4_transpose_squares(char *pieces, const char *rows, enum dtype out)
{
	const size_t pitch = FP4_TILE * out_bytes(out);

	for (size_t at = 0; at < pitch; at += 16, pieces += 256 / out_bytes(out)) {
		halves8 row[8], column[8];
		words4 four[4], transposed[4];

		if (out == DTYPE_F32) {
			for (unsigned i = 0; i < 4; i++)
				memcpy(&four[i], rows + i * pitch + at, sizeof(four[i]));
			transpose4(transposed, four[0], four[1], four[2], four[3]);
			memcpy(pieces, transposed, sizeof(transposed));
			continue;
		}
		for (unsigned i = 0; i < 8; i++)
			memcpy(&row[i], rows + i * pitch + at, sizeof(row[i]));
		transpose8(column, row);
		memcpy(pieces, column, sizeof(column));
	}
}

void fp4_init_vector(struct fp4_dsp *dsp)
{
	fp4_install(dsp);
}

#endif
