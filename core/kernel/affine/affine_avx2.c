/* SPDX-License-Identifier: MIT */

/*
 * AVX2 and F16C: a block is two vectors of 16 codes of 16 bits. A table of 16 outputs is two of bytes, because vpshufb,
 * the only lookup, takes bytes from tables of 16.
 */

#if defined(__x86_64__)

#if !defined(__AVX2__) || !defined(__F16C__)
#error "compile with -mavx2 -mf16c"
#endif

#define LANES 8

#include "kernel/simd/avx2.h"

/*
 * Of each half of a block: where its bytes are, and how its fields become 16 bits each. Shifts to the left by different
 * numbers are multiplications; then all are shifted to the right by as much.
 */
struct affine_spread {
	__m256i pick[2], times[2], flip;
	__m128i down;
	size_t at[2];
	__m256 codes[2]; /* 0 to 15, as tables have them */
};

/* The low and the high bytes of the outputs of codes 0 to 15, each twice, or what they are computed from. */
struct affine_group_table {
	__m256i low, high;
	__m256 scale, offset;
};

#include "kernel/affine/affine_rows.h"

static void affine_spread_init(struct affine_spread *s, const uint16_t begin[AFFINE_BLOCK], unsigned bits, bool flip)
{
	const __m256 first = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);

	s->flip = _mm256_set1_epi8(flip ? (char)0x80 : 0);
	if (bits == 8)
		return;
	for (unsigned half = 0; half < 2; half++) {
		uint8_t pick[32];
		uint16_t times[16];

		s->at[half] = begin[half * 16] / 8;
		for (unsigned i = 0; i < 16; i++) {
			const unsigned bit = begin[half * 16 + i];

			pick[2 * i] = (uint8_t)(bit / 8 - s->at[half]);
			pick[2 * i + 1] = (uint8_t)(pick[2 * i] + 1);
			times[i] = (uint16_t)(1u << (16 - bits - bit % 8));
		}
		s->pick[half] = _mm256_loadu_si256((const __m256i_u *)pick);
		s->times[half] = _mm256_loadu_si256((const __m256i_u *)times);
	}
	s->down = _mm_cvtsi32_si128((int)(16 - bits));
	s->codes[0] = first;
	s->codes[1] = _mm256_add_ps(first, _mm256_set1_ps(8));
}

/* The 16 fields of half a block. */
ALWAYS_INLINE __m256i affine_fields(const unsigned char *src, const struct affine_spread *s, unsigned half)
{
	const __m256i bytes = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i_u *)(src + s->at[half])));

	return _mm256_srl_epi16(_mm256_mullo_epi16(_mm256_shuffle_epi8(bytes, s->pick[half]), s->times[half]), s->down);
}

ALWAYS_INLINE __m256i affine_octets(const unsigned char *src, const struct affine_spread *s)
{
	const __m128i bytes = _mm_loadu_si128((const __m128i_u *)src);

	return _mm256_cvtepu8_epi16(_mm_xor_si128(bytes, _mm256_castsi256_si128(s->flip)));
}

ALWAYS_INLINE __m256 affine_formula8(__m256 code, __m256 scale, __m256 offset, bool biases)
{
	return biases ? _mm256_add_ps(_mm256_mul_ps(code, scale), offset)
	              : _mm256_mul_ps(_mm256_sub_ps(code, offset), scale);
}

ALWAYS_INLINE bool affine_looks_up(unsigned bits)
{
	return bits <= 4;
}

ALWAYS_INLINE void affine_table_build(struct affine_group_table *t, float scale, float offset,
    const struct affine_spread *s, struct affine_variant v)
{
	struct byte_tables bytes;

	t->scale = _mm256_set1_ps(scale);
	t->offset = _mm256_set1_ps(offset);
	if (v.kind != AFFINE_TABLE)
		return;
	bytes = byte_tables_of(affine_formula8(s->codes[0], t->scale, t->offset, v.biases),
	    affine_formula8(s->codes[1], t->scale, t->offset, v.biases), v.out);
	t->low = bytes.low;
	t->high = bytes.high;
}

/* 16 outputs in their order. `low` has elements 0 to 3 and 8 to 11, `high` the others; NaNs are canonical. */
ALWAYS_INLINE void affine_store16(char *dst, __m256 low, __m256 high, enum dtype out)
{
	if (out == DTYPE_BF16) {
		_mm256_storeu_si256((__m256i_u *)dst, _mm256_packus_epi32(_mm256_srli_epi32(round_bf16(low), 16),
							  _mm256_srli_epi32(round_bf16(high), 16)));
	} else if (out == DTYPE_F16) {
		const __m128i a = round16(low, out), b = round16(high, out);

		_mm_storeu_si128((__m128i_u *)dst, _mm_unpacklo_epi64(a, b));
		_mm_storeu_si128((__m128i_u *)(dst + 16), _mm_unpackhi_epi64(a, b));
	} else {
		_mm256_storeu_ps((float *)dst, _mm256_permute2f128_ps(low, high, 0x20));
		_mm256_storeu_ps((float *)(dst + 32), _mm256_permute2f128_ps(low, high, 0x31));
	}
}

/* 16 codes, which become floats by the bits put before them, which add 2^23. */
ALWAYS_INLINE void affine_compute16(char *dst, __m256i code, const struct affine_group_table *t,
    struct affine_variant v)
{
	const __m256i before = _mm256_set1_epi16(0x4b00);
	const __m256 less = _mm256_set1_ps(0x1p23f);
	const __m256 low = _mm256_sub_ps(_mm256_castsi256_ps(_mm256_unpacklo_epi16(code, before)), less);
	const __m256 high = _mm256_sub_ps(_mm256_castsi256_ps(_mm256_unpackhi_epi16(code, before)), less);

	affine_store16(dst, affine_formula8(low, t->scale, t->offset, v.biases),
	    affine_formula8(high, t->scale, t->offset, v.biases), v.out);
}

ALWAYS_INLINE void affine_look_up(char *dst, __m256i code, const struct affine_group_table *t)
{
	const __m256i low = _mm256_shuffle_epi8(t->low, code), high = _mm256_shuffle_epi8(t->high, code);

	_mm256_storeu_si256((__m256i_u *)dst, _mm256_unpacklo_epi8(low, high));
	_mm256_storeu_si256((__m256i_u *)(dst + 32), _mm256_unpackhi_epi8(low, high));
}

ALWAYS_INLINE void affine_decode_block(char *dst, const unsigned char *src, const struct affine_spread *s,
    const struct affine_group_table *t, struct affine_variant v)
{
	const size_t half = v.out == DTYPE_F32 ? 64 : 32;

	if (v.kind == AFFINE_OCTETS) {
		affine_compute16(dst, affine_octets(src, s), t, v);
		affine_compute16(dst + half, affine_octets(src + 16, s), t, v);
	} else if (v.kind == AFFINE_FIELDS) {
		affine_compute16(dst, affine_fields(src, s, 0), t, v);
		affine_compute16(dst + half, affine_fields(src, s, 1), t, v);
	} else {
		/* Packing puts the lanes in the order that unpacking takes them. */
		affine_look_up(dst, _mm256_packus_epi16(affine_fields(src, s, 0), affine_fields(src, s, 1)), t);
	}
}

ALWAYS_INLINE void affine_spread_bytes(uint8_t *dst, const unsigned char *src, const struct affine_spread *s)
{
	const __m256i bytes = _mm256_packus_epi16(affine_fields(src, s, 0), affine_fields(src, s, 1));

	_mm256_storeu_si256((__m256i_u *)dst, _mm256_permute4x64_epi64(bytes, 0xd8));
}

ALWAYS_INLINE affine_floats affine_widen(const unsigned char *src)
{
	return (affine_floats)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i_u *)src));
}

ALWAYS_INLINE void affine_gather(affine_floats to[AFFINE_STRIP], const float (*table)[AFFINE_STRIP],
    const uint32_t *index)
{
	__m256 column[4], low[2], high[2];

	UNROLL
	for (unsigned i = 0; i < 4; i++)
		column[i] = _mm256_set_m128(_mm_loadu_ps(table[index[4 + i]]), _mm_loadu_ps(table[index[i]]));
	UNROLL
	for (unsigned i = 0; i < 2; i++) {
		low[i] = _mm256_unpacklo_ps(column[i], column[i + 2]);
		high[i] = _mm256_unpackhi_ps(column[i], column[i + 2]);
	}
	to[0] = (affine_floats)_mm256_unpacklo_ps(low[0], low[1]);
	to[1] = (affine_floats)_mm256_unpackhi_ps(low[0], low[1]);
	to[2] = (affine_floats)_mm256_unpacklo_ps(high[0], high[1]);
	to[3] = (affine_floats)_mm256_unpackhi_ps(high[0], high[1]);
}

void affine_init_avx2(struct affine_dsp *dsp)
{
	affine_install(dsp);
}

#endif
