/* SPDX-License-Identifier: MIT */

/*
 * AVX2 and F16C: strips of 8 columns. A table of 16 outputs of 16 bits is two tables of bytes, because vpshufb, the
 * only lookup instruction, indexes 16 bytes; outputs of larger tables and fp32 are computed per code.
 */

#if defined(__x86_64__)

#if !defined(__AVX2__) || !defined(__F16C__)
#error "compile with -mavx2 -mf16c"
#endif

#include "kernel/simd/avx2.h"

#define COLUMNS 8

/* By column: the low and the high bytes of the outputs of codes 0 to 15, each twice, or zero and scale. */
struct tables {
	__m256i low[COLUMNS];
	__m256i high[COLUMNS];
	float zero[COLUMNS] __attribute__((aligned(32)));
	float scale[COLUMNS] __attribute__((aligned(32)));
};

/*
 * By column: a block of codes as bytes, in an order that unpacking and packing undo. Mostly 0 to 7, 16 to 23, 8 to 15,
 * 24 to 31; for bf16 without a table every other four, then those in between.
 */
struct codes {
	__m256i column[COLUMNS];
};

/* Outputs of a block, four k or pairs of k per part. Columns c and c + 4 are the lanes of vector c. */
struct values {
	__m256i part[8][4];
};

#include "kernel/gptq/gptq_strip.h"

ALWAYS_INLINE words load_words(const unsigned char *src, uint32_t n)
{
	static const int32_t masks[2 * COLUMNS] = {-1, -1, -1, -1, -1, -1, -1, -1};

	if (n == COLUMNS)
		return (words)_mm256_loadu_si256((const __m256i_u *)src);
	return (words)_mm256_maskload_epi32((const int *)src,
	    _mm256_loadu_si256((const __m256i_u *)(masks + COLUMNS - n)));
}

ALWAYS_INLINE floats load_floats(const unsigned char *src, uint32_t n, enum dtype dtype)
{
	__m128i halves = _mm_setzero_si128();

	if (dtype == DTYPE_F32)
		return (floats)load_words(src, n);
	if (n == COLUMNS)
		halves = _mm_loadu_si128((const __m128i_u *)src);
	else
		memcpy(&halves, src, n * 2);
	if (dtype == DTYPE_F16)
		return (floats)_mm256_cvtph_ps(halves);
	return (floats)_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16);
}

/* Planar strips of 8 columns may need more than 8 words, from two runs of 32 columns. */
ALWAYS_INLINE words pick_words(const unsigned char *row, uint32_t n, words index)
{
	const __m256i low = (__m256i)load_words(row, min_u32(n, COLUMNS));
	__m256i picked = _mm256_permutevar8x32_epi32(low, (__m256i)index), high;

	if (n <= COLUMNS)
		return (words)picked;
	high = (__m256i)load_words(row + COLUMNS * 4, n - COLUMNS);
	high = _mm256_permutevar8x32_epi32(high, (__m256i)index);
	return (words)_mm256_blendv_epi8(picked, high, _mm256_cmpgt_epi32((__m256i)index, _mm256_set1_epi32(7)));
}

ALWAYS_INLINE void store_canonical(char *dst, __m256 value, enum dtype dtype)
{
	if (dtype == DTYPE_F32)
		_mm256_storeu_ps((float *)dst, value);
	else
		_mm_storeu_si128((__m128i_u *)dst, round16(value, dtype));
}

ALWAYS_INLINE void store_floats(char *dst, floats value, enum dtype dtype)
{
	store_canonical(dst, canonical_nan((__m256)value), dtype);
}

ALWAYS_INLINE __m256 settle(__m256 value, struct variant v)
{
	return v.finite ? value : canonical_nan(value);
}

/* --- Tables --- */

ALWAYS_INLINE bool has_table(struct variant v)
{
	return v.out != DTYPE_F32 && v.bits <= 4;
}

ALWAYS_INLINE __m256 formula(__m256 code, __m256 zero, __m256 scale)
{
	return _mm256_mul_ps(_mm256_sub_ps(code, zero), scale);
}

ALWAYS_INLINE void tables_build(struct tables *tables, const struct group *group, uint32_t columns, struct variant v)
{
	const __m256 first = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
	const __m256 second = _mm256_add_ps(first, _mm256_set1_ps(8));
	const __m128i byte = _mm_set1_epi16(0xff);

	_mm256_store_ps(tables->zero, (__m256)group->zero);
	_mm256_store_ps(tables->scale, (__m256)group->scale);
	if (!has_table(v))
		return;
	for (uint32_t c = 0; c < columns; c++) {
		const __m256 zero = _mm256_set1_ps(tables->zero[c]), scale = _mm256_set1_ps(tables->scale[c]);
		const __m128i a = round16(canonical_nan(formula(first, zero, scale)), v.out);
		const __m128i b = v.bits > 3 ? round16(canonical_nan(formula(second, zero, scale)), v.out) : a;
		const __m128i low = _mm_packus_epi16(_mm_and_si128(a, byte), _mm_and_si128(b, byte));
		const __m128i high = _mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8));

		tables->low[c] = _mm256_broadcastsi128_si256(low);
		tables->high[c] = _mm256_broadcastsi128_si256(high);
	}
}

/* --- Codes to outputs --- */

/*
 * Element c % 4 of lane c / 4 belongs to column c; `low` and `high` are the halves of a block of columns c and c + 4.
 */
ALWAYS_INLINE void store_codes(struct codes *to, unsigned c, __m256i low, __m256i high)
{
	to->column[c] = _mm256_permute2x128_si256(low, high, 0x20);
	to->column[c + 4] = _mm256_permute2x128_si256(low, high, 0x31);
}

ALWAYS_INLINE void transpose4(__m256i to[4], __m256i a, __m256i b, __m256i c, __m256i d)
{
	const __m256i ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
	const __m256i cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);

	to[0] = _mm256_unpacklo_epi64(ab_low, cd_low);
	to[1] = _mm256_unpackhi_epi64(ab_low, cd_low);
	to[2] = _mm256_unpacklo_epi64(ab_high, cd_high);
	to[3] = _mm256_unpackhi_epi64(ab_high, cd_high);
}

/* Eight nibbles of each column become eight bytes: columns 0, 1, 4, 5 in `low`, 2, 3, 6, 7 in `high`. */
ALWAYS_INLINE void spread8(__m256i *low, __m256i *high, words nibbles)
{
	const __m256i mask = _mm256_set1_epi8(15);
	const __m256i even = _mm256_and_si256((__m256i)nibbles, mask);
	const __m256i odd = _mm256_and_si256(_mm256_srli_epi32((__m256i)nibbles, 4), mask);

	*low = _mm256_unpacklo_epi8(even, odd);
	*high = _mm256_unpackhi_epi8(even, odd);
}

ALWAYS_INLINE void codes_build4(struct codes *to, const words *block)
{
	__m256i low[4], high[4];

	UNROLL
	for (unsigned i = 0; i < 4; i++)
		spread8(&low[i], &high[i], block[i]);
	store_codes(to, 0, _mm256_unpacklo_epi64(low[0], low[2]), _mm256_unpacklo_epi64(low[1], low[3]));
	store_codes(to, 1, _mm256_unpackhi_epi64(low[0], low[2]), _mm256_unpackhi_epi64(low[1], low[3]));
	store_codes(to, 2, _mm256_unpacklo_epi64(high[0], high[2]), _mm256_unpacklo_epi64(high[1], high[3]));
	store_codes(to, 3, _mm256_unpackhi_epi64(high[0], high[2]), _mm256_unpackhi_epi64(high[1], high[3]));
}

ALWAYS_INLINE __m256i code4(const words *block, unsigned i, struct variant v)
{
	return (__m256i)block_code4(block, i, v);
}

ALWAYS_INLINE void codes_build(struct codes *to, const words *block, struct variant v)
{
	__m256i low[4], high[4];

	if (v.bits == 4 && v.form == STREAM) {
		codes_build4(to, block);
		return;
	}
	if (v.out == DTYPE_BF16 && !has_table(v)) {
		transpose4(low, code4(block, 0, v), code4(block, 2, v), code4(block, 4, v), code4(block, 6, v));
		transpose4(high, code4(block, 1, v), code4(block, 3, v), code4(block, 5, v), code4(block, 7, v));
	} else {
		transpose4(low, code4(block, 0, v), code4(block, 1, v), code4(block, 4, v), code4(block, 5, v));
		transpose4(high, code4(block, 2, v), code4(block, 3, v), code4(block, 6, v), code4(block, 7, v));
	}
	UNROLL
	for (unsigned c = 0; c < 4; c++)
		store_codes(to, c, low[c], high[c]);
}

/* Returns the values of the eight codes at src. */
ALWAYS_INLINE __m256 values8(const char *src, __m256 zero, __m256 scale, struct variant v)
{
	const __m256i code = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i_u *)src));

	return settle(formula(_mm256_cvtepi32_ps(code), zero, scale), v);
}

/* Computes 16 outputs: of the codes at src and of those 16 bytes later. */
ALWAYS_INLINE void expand16(char *dst, const char *src, __m256 zero, __m256 scale, struct variant v)
{
	const __m256 a = values8(src, zero, scale, v), b = values8(src + 16, zero, scale, v);

	if (v.out == DTYPE_BF16) {
		_mm256_storeu_si256((__m256i_u *)dst,
		    _mm256_packus_epi32(_mm256_srli_epi32(round_bf16(a), 16), _mm256_srli_epi32(round_bf16(b), 16)));
		return;
	}
	store_canonical(dst, a, v.out);
	store_canonical(dst + 8 * out_bytes(v.out), b, v.out);
}

ALWAYS_INLINE void column_expand(char *dst, const struct codes *codes, const struct tables *tables, uint32_t c,
    struct variant v)
{
	const __m256i code = codes->column[c];
	const char *src = (const char *)&codes->column[c];

	if (has_table(v)) {
		const __m256i low = _mm256_shuffle_epi8(tables->low[c], code);
		const __m256i high = _mm256_shuffle_epi8(tables->high[c], code);

		_mm256_storeu_si256((__m256i_u *)dst, _mm256_unpacklo_epi8(low, high));
		_mm256_storeu_si256((__m256i_u *)(dst + 32), _mm256_unpackhi_epi8(low, high));
	} else {
		const __m256 zero = _mm256_set1_ps(tables->zero[c]), scale = _mm256_set1_ps(tables->scale[c]);

		expand16(dst, src, zero, scale, v);
		expand16(dst + 16 * out_bytes(v.out), src + 8, zero, scale, v);
	}
}

/* --- Values by k to outputs by column --- */

ALWAYS_INLINE void store_column(const struct tile *tile, uint32_t c, size_t offset, __m256i out)
{
	if (c < tile->columns)
		_mm256_storeu_si256((__m256i_u *)(tile->dst + c * tile->pitch + offset), out);
}

ALWAYS_INLINE words round32(floats value, struct variant v)
{
	return (words)settle((__m256)value, v);
}

ALWAYS_INLINE words round_pair(floats a, floats b, struct variant v)
{
	const __m256 x = settle((__m256)a, v), y = settle((__m256)b, v);
	__m128i low, high;

	if (v.out == DTYPE_BF16)
		return (words)_mm256_blend_epi16(_mm256_srli_epi32(round_bf16(x), 16), round_bf16(y), 0xaa);
	low = round16(x, v.out);
	high = round16(y, v.out);
	return (words)_mm256_set_m128i(_mm_unpackhi_epi16(low, high), _mm_unpacklo_epi16(low, high));
}

ALWAYS_INLINE void values_put(struct values *values, unsigned i, const words value[4])
{
	transpose4(values->part[i], (__m256i)value[0], (__m256i)value[1], (__m256i)value[2], (__m256i)value[3]);
}

ALWAYS_INLINE void tile_finish(const struct tile *tile, const struct values *values, uint32_t blocks, unsigned parts)
{
	for (uint32_t c = 0; c < 4; c++)
		for (uint32_t i = 0; i < blocks; i++)
			for (unsigned k = 0; k < parts; k += 2) {
				const __m256i low = values[i].part[k][c], high = values[i].part[k + 1][c];
				const size_t offset = (i * parts + k) * 16;

				store_column(tile, c, offset, _mm256_permute2x128_si256(low, high, 0x20));
				store_column(tile, c + 4, offset, _mm256_permute2x128_si256(low, high, 0x31));
			}
}

void cast_init_avx2(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS])
{
	cast_install(cast);
}

void gptq_init_avx2(struct gptq_dsp *dsp)
{
	gptq_install(dsp);
}

#endif
