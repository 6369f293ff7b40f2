/* SPDX-License-Identifier: MIT */

/*
 * 16-byte vectors as a compiler extension, for CPUs that can look up bytes in a table of 16: SSSE3 and NEON. Strips of
 * 4 columns. A table of 16 outputs of 16 bits is two tables of bytes; outputs of larger ones and fp32 are computed per
 * code.
 */

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__x86_64__) && !defined(__SSSE3__)
#error "compile with -mssse3"
#endif

#include "kernel/simd/vector.h"

#define COLUMNS 4

/* By column: the low and the high bytes of the outputs of codes 0 to 15, or zero and scale. */
struct tables {
	bytes16 low[COLUMNS];
	bytes16 high[COLUMNS];
	float zero[COLUMNS] __attribute__((aligned(16)));
	float scale[COLUMNS] __attribute__((aligned(16)));
};

/* By column: codes 0 to 15 and 16 to 31 of a block as bytes. */
struct codes {
	bytes16 column[COLUMNS][2];
};

/* Outputs of a block, by column, four k or pairs of k per part. */
struct values {
	uint32_t part[8][COLUMNS][4] __attribute__((aligned(16)));
};

#include "kernel/gptq/gptq_strip.h"

/* True if, for all codes of up to 4 bits, the difference to the zero times the scale is 0 or a normal fp16 number. */
ALWAYS_INLINE bool scale_is_plain(floats scale)
{
	const words magnitude = (words)scale & 0x7fffffff;
	const ints plain = ((ints)magnitude >= 0x38800000) & ((ints)magnitude < 0x44800000); /* 2^-14 and 2^10 */

	return (plain[0] & plain[1] & plain[2] & plain[3]) != 0;
}

/* --- Memory --- */

ALWAYS_INLINE words load_words(const unsigned char *src, uint32_t n)
{
	words value = {0};

	if (n == COLUMNS)
		memcpy(&value, src, sizeof(value));
	else
		memcpy(&value, src, n * 4);
	return value;
}

ALWAYS_INLINE words pick_words(const unsigned char *row, uint32_t n, words index)
{
	words value;
	uint32_t word;

	if (n == 1) {
		memcpy(&word, row, sizeof(word));
		return (words){0} + word;
	}
	for (unsigned c = 0; c < COLUMNS; c++) {
		memcpy(&word, row + (size_t)index[c] * 4, sizeof(word));
		value[c] = word;
	}
	return value;
}

ALWAYS_INLINE floats load_floats(const unsigned char *src, uint32_t n, enum dtype dtype)
{
	uint64_t half = 0;
	words bits;

	if (dtype == DTYPE_F32)
		return (floats)load_words(src, n);
	if (n == COLUMNS)
		memcpy(&half, src, COLUMNS * 2);
	else
		memcpy(&half, src, n * 2);
	bits = (words)__builtin_shufflevector((halves8)(longs2){half}, (halves8){0}, 0, 8, 1, 9, 2, 10, 3, 11);
	return (floats)(dtype == DTYPE_F16 ? widen_half(bits) : bits << 16);
}

/* As round16(). */
ALWAYS_INLINE void store_bits(char *dst, words bits, enum dtype dtype, bool finite)
{
	halves8 half;

	if (dtype == DTYPE_F32) {
		memcpy(dst, &bits, sizeof(bits));
		return;
	}
	bits = round16(bits, dtype, finite);
	half = narrow_pair(bits, bits);
	memcpy(dst, &half, sizeof(half) / 2);
}

ALWAYS_INLINE void store_floats(char *dst, floats value, enum dtype dtype)
{
	store_bits(dst, canonical_nan(value), dtype, false);
}

ALWAYS_INLINE words settle(floats value, struct variant v)
{
	return v.finite ? (words)value : canonical_nan(value);
}

/* --- Tables --- */

ALWAYS_INLINE bool has_table(struct variant v)
{
	return v.out != DTYPE_F32 && v.bits <= 4;
}

/* Returns the outputs of four codes from `first`. */
ALWAYS_INLINE words formula4(float first, float zero, float scale, struct variant v, bool plain)
{
	const floats code = (floats){0, 1, 2, 3} + first, value = (code - zero) * scale;

	if (plain && v.out == DTYPE_F16)
		return narrow_plain((words)value);
	return round16(settle(value, v), v.out, v.finite);
}

/* Returns the low bytes of the four, then the high ones. */
ALWAYS_INLINE words split4(words half)
{
	return (words)look_up((bytes16)half,
	    (bytes16){0, 4, 8, 12, 1, 5, 9, 13, 255, 255, 255, 255, 255, 255, 255, 255});
}

ALWAYS_INLINE void table_build(struct tables *tables, uint32_t c, struct variant v, bool plain)
{
	const float zero = tables->zero[c], scale = tables->scale[c];
	const words none = {0};
	words part[4], low, high;

	UNROLL
	for (unsigned i = 0; i < 4; i++)
		part[i] = i * 4 < 1u << v.bits ? split4(formula4((float)i * 4, zero, scale, v, plain)) : none;
	low = zip_low32(part[0], part[1]);
	high = zip_low32(part[2], part[3]);
	tables->low[c] = (bytes16)zip_low64(low, high);
	tables->high[c] = (bytes16)zip_high64(low, high);
}

ALWAYS_INLINE void tables_build(struct tables *tables, const struct group *group, uint32_t columns, struct variant v)
{
	const bool plain = scale_is_plain(group->scale);

	memcpy(tables->zero, &group->zero, sizeof(tables->zero));
	memcpy(tables->scale, &group->scale, sizeof(tables->scale));
	if (!has_table(v))
		return;
	for (uint32_t c = 0; c < columns; c++) {
		if (plain)
			table_build(tables, c, v, true);
		else
			table_build(tables, c, v, false);
	}
}

/* --- Codes to outputs --- */

/* 16 nibbles of each column. */
ALWAYS_INLINE void codes_build4(struct codes *to, unsigned half, words a, words b)
{
	const bytes16 a_even = (bytes16)(a & 0x0f0f0f0f), a_odd = (bytes16)(a >> 4 & 0x0f0f0f0f);
	const bytes16 b_even = (bytes16)(b & 0x0f0f0f0f), b_odd = (bytes16)(b >> 4 & 0x0f0f0f0f);
	const words a_low = (words)zip_low8(a_even, a_odd), a_high = (words)zip_high8(a_even, a_odd);
	const words b_low = (words)zip_low8(b_even, b_odd), b_high = (words)zip_high8(b_even, b_odd);

	to->column[0][half] = (bytes16)zip_low64(a_low, b_low);
	to->column[1][half] = (bytes16)zip_high64(a_low, b_low);
	to->column[2][half] = (bytes16)zip_low64(a_high, b_high);
	to->column[3][half] = (bytes16)zip_high64(a_high, b_high);
}

ALWAYS_INLINE void codes_build(struct codes *to, const words *block, struct variant v)
{
	words column[4];

	UNROLL
	for (unsigned half = 0; half < 2; half++) {
		if (v.bits == 4 && v.form == STREAM) {
			codes_build4(to, half, block[half * 2], block[half * 2 + 1]);
			continue;
		}
		transpose4(column, block_code4(block, half * 4, v), block_code4(block, half * 4 + 1, v),
		    block_code4(block, half * 4 + 2, v), block_code4(block, half * 4 + 3, v));
		for (unsigned c = 0; c < COLUMNS; c++)
			to->column[c][half] = (bytes16)column[c];
	}
}

/* Computes the 16 outputs of 16 codes. */
ALWAYS_INLINE void expand16(char *dst, bytes16 code, float zero, float scale, struct variant v)
{
	const size_t step = v.out == DTYPE_F32 ? 16 : 8;
	const bytes16 none = {0};
	const bytes16 half[2] = {zip_low8(code, none), zip_high8(code, none)};

	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		const bytes16 wide = i % 2 ? (bytes16)__builtin_shufflevector((halves8)half[i / 2], (halves8)none, 4,
						 12, 5, 13, 6, 14, 7, 15)
		                           : (bytes16)__builtin_shufflevector((halves8)half[i / 2], (halves8)none, 0, 8,
						 1, 9, 2, 10, 3, 11);
		const floats value = (__builtin_convertvector((ints)wide, floats) - zero) * scale;

		store_bits(dst + i * step, settle(value, v), v.out, v.finite);
	}
}

ALWAYS_INLINE void column_expand(char *dst, const struct codes *codes, const struct tables *tables, uint32_t c,
    struct variant v)
{
	UNROLL
	for (unsigned half = 0; half < 2; half++) {
		const bytes16 code = codes->column[c][half];
		const size_t half_bytes = v.out == DTYPE_F32 ? 64 : 32;

		if (has_table(v)) {
			const bytes16 low = look_up(tables->low[c], code), high = look_up(tables->high[c], code);
			const bytes16 first = zip_low8(low, high), second = zip_high8(low, high);

			memcpy(dst + half * half_bytes, &first, sizeof(first));
			memcpy(dst + half * half_bytes + sizeof(first), &second, sizeof(second));
		} else {
			expand16(dst + half * half_bytes, code, tables->zero[c], tables->scale[c], v);
		}
	}
}

/* --- Values by k to outputs by column --- */

ALWAYS_INLINE words round32(floats value, struct variant v)
{
	return settle(value, v);
}

ALWAYS_INLINE words round_pair(floats a, floats b, struct variant v)
{
	return round16(settle(a, v), v.out, v.finite) | round16(settle(b, v), v.out, v.finite) << 16;
}

ALWAYS_INLINE void values_put(struct values *values, unsigned i, const words value[4])
{
	words column[4];

	transpose4(column, value[0], value[1], value[2], value[3]);
	memcpy(values->part[i], column, sizeof(column));
}

ALWAYS_INLINE void tile_finish(const struct tile *tile, const struct values *values, uint32_t blocks, unsigned parts)
{
	for (uint32_t c = 0; c < tile->columns; c++)
		for (uint32_t i = 0; i < blocks; i++)
			for (unsigned k = 0; k < parts; k++)
				memcpy(tile->dst + c * tile->pitch + (i * parts + k) * 16, values[i].part[k][c], 16);
}

void cast_init_vector(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS])
{
	cast_install(cast);
}

void gptq_init_vector(struct gptq_dsp *dsp)
{
	gptq_install(dsp);
}

#endif
