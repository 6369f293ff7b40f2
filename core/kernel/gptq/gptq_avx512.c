/* SPDX-License-Identifier: MIT */

/*
 * AVX-512 F, BW, DQ, VL: strips of 16 columns, a cache line of each row of qweight. The 16 or 32 entries of a table fit
 * in one register, so a vpermw or vpermps looks up a whole cache line of output.
 */

#if defined(__x86_64__)

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "compile with -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#include "kernel/simd/avx512.h"

#define COLUMNS 16

/*
 * By column: the outputs of codes 0 to 31, as 16 or 32 bits, or zero and scale if a table does not fit. A table of
 * fewer than 32 codes is repeated, so that the bits above a code do not matter.
 */
struct tables {
	__m512i entry[COLUMNS];
	float zero[COLUMNS] __attribute__((aligned(64)));
	float scale[COLUMNS] __attribute__((aligned(64)));
};

/*
 * The words of a stream or of planes: those of the first plane, the others. Or codes as bytes: the first 16, the last
 * 16. column_at() finds those of a column.
 */
struct columns16 {
	__m512i lanes[4];
};

struct codes {
	struct columns16 half[2];
};

/* Outputs of a block, four k or pairs of k per part, with lanes as above. */
struct values {
	struct columns16 part[8];
};

#include "kernel/gptq/gptq_strip.h"

ALWAYS_INLINE words load_words(const unsigned char *src, uint32_t n)
{
	return (words)_mm512_maskz_loadu_epi32((__mmask16)(0xffff >> (16 - n)), src);
}

ALWAYS_INLINE floats load_floats(const unsigned char *src, uint32_t n, enum dtype dtype)
{
	const __mmask16 mask = 0xffff >> (16 - n);

	if (dtype == DTYPE_F16)
		return (floats)_mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, src));
	if (dtype == DTYPE_BF16)
		return (floats)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, src)), 16);
	return (floats)_mm512_maskz_loadu_ps(mask, src);
}

ALWAYS_INLINE words pick_words(const unsigned char *row, uint32_t n, words index)
{
	return (words)_mm512_permutexvar_epi32((__m512i)index, (__m512i)load_words(row, n));
}

ALWAYS_INLINE void store_canonical(char *dst, __m512 value, enum dtype dtype)
{
	if (dtype == DTYPE_F32)
		_mm512_storeu_ps(dst, value);
	else
		_mm256_storeu_si256((__m256i_u *)dst, round16(value, dtype));
}

ALWAYS_INLINE void store_floats(char *dst, floats value, enum dtype dtype)
{
	store_canonical(dst, canonical_nan((__m512)value), dtype);
}

ALWAYS_INLINE __m512 settle(__m512 value, struct variant v)
{
	return v.finite ? value : canonical_nan(value);
}

/* --- Tables --- */

ALWAYS_INLINE bool has_table(struct variant v)
{
	return v.out == DTYPE_F32 ? v.form == STREAM : v.form != BYTES && v.bits <= 5;
}

/* Codes of planes become floats by setting the bits above them, which adds 2^23. */
ALWAYS_INLINE __m512 zero_as(const struct group *group, struct variant v)
{
	const bool adds = v.form == PLANES && !has_table(v);

	return adds ? _mm512_add_ps((__m512)group->zero, _mm512_set1_ps(0x1p23f)) : (__m512)group->zero;
}

ALWAYS_INLINE __m512 formula(__m512 code, __m512 zero, __m512 scale)
{
	return _mm512_mul_ps(_mm512_sub_ps(code, zero), scale);
}

ALWAYS_INLINE void tables_build(struct tables *tables, const struct group *group, uint32_t columns, struct variant v)
{
	const __m512i iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	const __m512i mask = _mm512_set1_epi32((1 << v.bits) - 1);
	const __m512 low = _mm512_cvtepi32_ps(_mm512_and_si512(iota, mask));
	const __m512 high = _mm512_cvtepi32_ps(_mm512_and_si512(_mm512_add_epi32(iota, _mm512_set1_epi32(16)), mask));

	_mm512_store_ps(tables->zero, zero_as(group, v));
	_mm512_store_ps(tables->scale, (__m512)group->scale);
	if (!has_table(v))
		return;
	for (uint32_t c = 0; c < columns; c++) {
		const __m512 zero = _mm512_set1_ps(tables->zero[c]), scale = _mm512_set1_ps(tables->scale[c]);
		const __m512 values = canonical_nan(formula(low, zero, scale));
		__m256i half;

		if (v.out == DTYPE_F32) {
			tables->entry[c] = _mm512_castps_si512(values);
			continue;
		}
		half = round16(values, v.out);
		tables->entry[c] = v.bits <= 4 ? _mm512_broadcast_i64x4(half)
		                               : _mm512_inserti64x4(_mm512_castsi256_si512(half),
						     round16(canonical_nan(formula(high, zero, scale)), v.out), 1);
	}
}

/* --- Codes to outputs --- */

/* Transposes four vectors of 16 columns to 16 bytes per column. */
ALWAYS_INLINE void transpose4(struct columns16 *to, __m512i a, __m512i b, __m512i c, __m512i d)
{
	const __m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
	const __m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);

	to->lanes[0] = _mm512_unpacklo_epi64(ab_low, cd_low);
	to->lanes[1] = _mm512_unpackhi_epi64(ab_low, cd_low);
	to->lanes[2] = _mm512_unpacklo_epi64(ab_high, cd_high);
	to->lanes[3] = _mm512_unpackhi_epi64(ab_high, cd_high);
}

ALWAYS_INLINE __m128i column_at(const struct columns16 *from, uint32_t c)
{
	return _mm_load_si128((const __m128i *)&from->lanes[c % 4] + c / 4);
}

/*
 * The positions of the 32 codes of a stream in the 16 bytes of a column. Code i begins at bit `bits` * i, so it is in
 * the two bytes from `bits` * i / 8, shifted by `bits` * i % 8. In each 128-bit lane these bytes may be any of the 16.
 *
 * The same for planes: the `width` bits of code i, from bit `width` * i, go to bit `to` of 16. Their byte goes to the
 * upper half, and is shifted down from there. Other bits must be masked out.
 */
struct plane {
	uint8_t pick[64];
	uint16_t shift[32];
};

#include "kernel/gptq/gptq_shuffles.h"

/* Outputs 0 to 31 of a block of one column, in two halves for fp32. */
ALWAYS_INLINE void expand_stream16(char *dst, __m128i column, __m512i table, unsigned bits)
{
	const __m512i pick = _mm512_load_si512(pick16[bits]), shift = _mm512_load_si512(shift16[bits]);
	const __m512i code = _mm512_srlv_epi16(_mm512_shuffle_epi8(_mm512_broadcast_i32x4(column), pick), shift);

	_mm512_storeu_si512(dst, _mm512_permutexvar_epi16(code, table));
}

ALWAYS_INLINE void expand_stream32(char *dst, __m128i column, __m512i table, unsigned bits)
{
	for (unsigned half = 0; half < 2; half++) {
		const __m512i pick = _mm512_load_si512(pick32[bits][half]),
			      shift = _mm512_load_si512(shift32[bits][half]);
		const __m512i bytes = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(column), pick);

		_mm512_storeu_si512(dst + half * 64, _mm512_permutexvar_epi32(_mm512_srlv_epi32(bytes, shift), table));
	}
}

/* Returns the outputs of 32 codes. */
ALWAYS_INLINE void store_outputs(char *dst, __m512 low, __m512 high, struct variant v)
{
	low = settle(low, v);
	high = settle(high, v);
	if (v.out == DTYPE_F32) {
		_mm512_storeu_ps(dst, low);
		_mm512_storeu_ps(dst + 64, high);
	} else {
		_mm512_storeu_si512(dst, round16x2(low, high, v.out));
	}
}

ALWAYS_INLINE void expand_bytes(char *dst, __m128i low, __m128i high, __m512 zero, __m512 scale, struct variant v)
{
	const __m512 a = formula(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(low)), zero, scale);
	const __m512 b = formula(_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(high)), zero, scale);

	store_outputs(dst, a, b, v);
}

ALWAYS_INLINE __m512i plane_at(__m128i column, const struct plane *plane)
{
	const __m512i bytes = _mm512_shuffle_epi8(_mm512_broadcast_i32x4(column), _mm512_load_si512(plane->pick));

	return _mm512_srlv_epi16(bytes, _mm512_load_si512(plane->shift));
}

/* Returns the lowest `bits` bits of a and the other bits of b. */
ALWAYS_INLINE __m512i below(__m512i a, __m512i b, unsigned bits)
{
	return _mm512_ternarylogic_epi32(_mm512_set1_epi16((1 << bits) - 1), a, b, 0xca);
}

/* Returns the codes of a column, with garbage above them. The first plane of 3 bits is 2 wide, both in one half. */
ALWAYS_INLINE __m512i planes_join(const struct codes *codes, uint32_t c, bool by_halves, unsigned bits)
{
	const struct plane *plane = planes[by_halves][bits];
	const __m128i first = column_at(&codes->half[0], c), rest = column_at(&codes->half[bits > 4], c);
	__m512i code = plane_at(first, &plane[0]);

	code = below(code, plane_at(rest, &plane[1]), bits == 3 ? 2 : 4);
	return bits == 7 ? below(code, plane_at(rest, &plane[2]), 6) : code;
}

ALWAYS_INLINE void expand_planes(char *dst, const struct codes *codes, const struct tables *tables, uint32_t c,
    struct variant v)
{
	const __m512i code = planes_join(codes, c, !has_table(v), v.bits);
	const __m512 zero = _mm512_set1_ps(tables->zero[c]), scale = _mm512_set1_ps(tables->scale[c]);
	const __m512i before = _mm512_set1_epi16(0x4b00);
	__m512i clean;

	if (has_table(v)) {
		_mm512_storeu_si512(dst, _mm512_permutexvar_epi16(code, tables->entry[c]));
		return;
	}
	clean = _mm512_and_si512(code, _mm512_set1_epi16((1 << v.bits) - 1));
	store_outputs(dst, formula(_mm512_castsi512_ps(_mm512_unpacklo_epi16(clean, before)), zero, scale),
	    formula(_mm512_castsi512_ps(_mm512_unpackhi_epi16(clean, before)), zero, scale), v);
}

ALWAYS_INLINE __m512i code4(const words *block, unsigned i, struct variant v)
{
	return (__m512i)block_code4(block, i, v);
}

/* Returns word i of a block, zero past the last. */
ALWAYS_INLINE __m512i word_at(const words *block, unsigned i, unsigned bits)
{
	return i < bits ? (__m512i)block[i] : _mm512_setzero_si512();
}

ALWAYS_INLINE void codes_build(struct codes *to, const words *block, struct variant v)
{
	if (v.form == BYTES) {
		transpose4(&to->half[0], code4(block, 0, v), code4(block, 1, v), code4(block, 2, v),
		    code4(block, 3, v));
		transpose4(&to->half[1], code4(block, 4, v), code4(block, 5, v), code4(block, 6, v),
		    code4(block, 7, v));
		return;
	}
	transpose4(&to->half[0], word_at(block, 0, v.bits), word_at(block, 1, v.bits), word_at(block, 2, v.bits),
	    word_at(block, 3, v.bits));
	if (v.bits > 4)
		transpose4(&to->half[1], word_at(block, 4, v.bits), word_at(block, 5, v.bits),
		    word_at(block, 6, v.bits), word_at(block, 7, v.bits));
}

ALWAYS_INLINE void column_expand(char *dst, const struct codes *codes, const struct tables *tables, uint32_t c,
    struct variant v)
{
	const __m128i low = column_at(&codes->half[0], c);

	if (v.form == PLANES)
		expand_planes(dst, codes, tables, c, v);
	else if (v.form == BYTES)
		expand_bytes(dst, low, column_at(&codes->half[1], c), _mm512_set1_ps(tables->zero[c]),
		    _mm512_set1_ps(tables->scale[c]), v);
	else if (v.out == DTYPE_F32)
		expand_stream32(dst, low, tables->entry[c], v.bits);
	else
		expand_stream16(dst, low, tables->entry[c], v.bits);
}

/* --- Values by k to outputs by column --- */

ALWAYS_INLINE words round32(floats value, struct variant v)
{
	return (words)settle((__m512)value, v);
}

ALWAYS_INLINE words round_pair(floats a, floats b, struct variant v)
{
	static const uint16_t upper[32] __attribute__((aligned(64))) = {
	    0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8, 0, 9, 0, 10, 0, 11, 0, 12, 0, 13, 0, 14, 0, 15};
	const __m512 low = settle((__m512)a, v), high = settle((__m512)b, v);

	if (v.out == DTYPE_BF16)
		return (words)_mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(round_bf16(low), 16),
		    round_bf16(high));
	return (words)_mm512_mask_permutexvar_epi16(_mm512_cvtepu16_epi32(round16(low, v.out)), 0xaaaaaaaa,
	    _mm512_load_si512(upper), _mm512_zextsi256_si512(round16(high, v.out)));
}

ALWAYS_INLINE void values_put(struct values *values, unsigned i, const words value[4])
{
	transpose4(&values->part[i], (__m512i)value[0], (__m512i)value[1], (__m512i)value[2], (__m512i)value[3]);
}

ALWAYS_INLINE void store_column(const struct tile *tile, uint32_t c, size_t offset, __m512i out)
{
	if (c < tile->columns)
		_mm512_storeu_si512(tile->dst + c * tile->pitch + offset, out);
}

/* A cache line of the columns c, c + 4, c + 8 and c + 12. */
ALWAYS_INLINE void store_lines(const struct tile *tile, uint32_t c, size_t offset, const struct columns16 *part)
{
	const __m512i ab_even = _mm512_shuffle_i32x4(part[0].lanes[c], part[1].lanes[c], 0x88);
	const __m512i ab_odd = _mm512_shuffle_i32x4(part[0].lanes[c], part[1].lanes[c], 0xdd);
	const __m512i cd_even = _mm512_shuffle_i32x4(part[2].lanes[c], part[3].lanes[c], 0x88);
	const __m512i cd_odd = _mm512_shuffle_i32x4(part[2].lanes[c], part[3].lanes[c], 0xdd);

	store_column(tile, c, offset, _mm512_shuffle_i32x4(ab_even, cd_even, 0x88));
	store_column(tile, c + 4, offset, _mm512_shuffle_i32x4(ab_odd, cd_odd, 0x88));
	store_column(tile, c + 8, offset, _mm512_shuffle_i32x4(ab_even, cd_even, 0xdd));
	store_column(tile, c + 12, offset, _mm512_shuffle_i32x4(ab_odd, cd_odd, 0xdd));
}

ALWAYS_INLINE void tile_finish(const struct tile *tile, const struct values *values, uint32_t blocks, unsigned parts)
{
	for (uint32_t c = 0; c < 4; c++)
		for (uint32_t i = 0; i < blocks; i++)
			for (unsigned k = 0; k < parts; k += 4)
				store_lines(tile, c, (i * parts + k) * 16, &values[i].part[k]);
}

/* --- Planes are expanded as they are --- */

#define DEFINE_PLANES(bits)                                                         \
	DEFINE_GROUPED(planes##bits##_f16, general_f16, bits, PLANES, DTYPE_F16)    \
	DEFINE_GROUPED(planes##bits##_bf16, general_bf16, bits, PLANES, DTYPE_BF16) \
	DEFINE_GROUPED(planes##bits##_f32, general_f32, bits, PLANES, DTYPE_F32)    \
	static gptq_fn *const planes##bits[DTYPE_VIEWS] = OUTPUTS(planes##bits);

DEFINE_PLANES(3)
DEFINE_PLANES(5)
DEFINE_PLANES(6)
DEFINE_PLANES(7)

static void install_planes(struct gptq_dsp *dsp, unsigned bits, gptq_fn *const kernels[DTYPE_VIEWS])
{
	memcpy(dsp->rows[bits][PACKING_PLANAR][0], kernels, sizeof(dsp->rows[bits][PACKING_PLANAR][0]));
}

void cast_init_avx512(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS])
{
	cast_install(cast);
}

void gptq_init_avx512(struct gptq_dsp *dsp)
{
	gptq_install(dsp);
	install_planes(dsp, 3, planes3);
	install_planes(dsp, 5, planes5);
	install_planes(dsp, 6, planes6);
	install_planes(dsp, 7, planes7);
}

#endif
