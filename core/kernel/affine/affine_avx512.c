/* SPDX-License-Identifier: MIT */

/* AVX-512: a block of 32 codes is a cache line of 16-bit output, and a table of 32 of those is one register. */

#if defined(__x86_64__)

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "compile with -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#define LANES 16

#include "kernel/simd/avx512.h"

/* Of a block's bytes, `words` are the 16-bit words that each lane has the fields of. */
struct affine_spread {
	__m512i words, pick, shift, mask;
	__m512 codes[2]; /* 0 to 31, as tables have them */
	__m256i flip;
	bool wide; /* codes have more than 4 bits */
};

struct affine_group_table {
	__m512i entry;
	__m512 scale, offset;
};

#include "kernel/affine/affine_rows.h"

static void affine_spread_init(struct affine_spread *s, const uint16_t begin[AFFINE_BLOCK], unsigned bits, bool flip)
{
	const __m512i iota = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
	uint16_t words[32], shift[32];
	uint8_t pick[64];

	s->wide = bits > 4;
	s->flip = _mm256_set1_epi8(flip ? (char)0x80 : 0);
	if (bits == 8)
		return;
	for (unsigned i = 0; i < AFFINE_BLOCK; i++) {
		const unsigned first = begin[i / 8 * 8] / 16; /* 16-bit word of the lane */

		words[i] = (uint16_t)(first + i % 8);
		pick[2 * i] = (uint8_t)(begin[i] / 8 - first * 2);
		pick[2 * i + 1] = (uint8_t)(pick[2 * i] + 1);
		shift[i] = begin[i] % 8;
	}
	s->words = _mm512_loadu_si512(words);
	s->pick = _mm512_loadu_si512(pick);
	s->shift = _mm512_loadu_si512(shift);
	s->mask = _mm512_set1_epi16((short)((1 << bits) - 1));
	for (int i = 0; i < 2; i++) {
		const __m512i code = _mm512_add_epi32(iota, _mm512_set1_epi32(i * 16));

		s->codes[i] = _mm512_cvtepi32_ps(_mm512_and_si512(code, _mm512_set1_epi32((1 << bits) - 1)));
	}
}

/* The first bits of each element are a field, the others anything. */
ALWAYS_INLINE __m512i affine_fields(const unsigned char *src, const struct affine_spread *s)
{
	const __m512i bytes = _mm512_castsi256_si512(_mm256_loadu_si256((const __m256i_u *)src));

	return _mm512_srlv_epi16(_mm512_shuffle_epi8(_mm512_permutexvar_epi16(s->words, bytes), s->pick), s->shift);
}

ALWAYS_INLINE __m512i affine_octets(const unsigned char *src, const struct affine_spread *s)
{
	return _mm512_cvtepu8_epi16(_mm256_xor_si256(_mm256_loadu_si256((const __m256i_u *)src), s->flip));
}

ALWAYS_INLINE __m512 affine_formula16(__m512 code, __m512 scale, __m512 offset, bool biases)
{
	return biases ? _mm512_add_ps(_mm512_mul_ps(code, scale), offset)
	              : _mm512_mul_ps(_mm512_sub_ps(code, offset), scale);
}

ALWAYS_INLINE bool affine_looks_up(unsigned bits)
{
	return bits <= 5;
}

ALWAYS_INLINE void affine_table_build(struct affine_group_table *t, float scale, float offset,
    const struct affine_spread *s, struct affine_variant v)
{
	__m512 low;

	t->scale = _mm512_set1_ps(scale);
	t->offset = _mm512_set1_ps(offset);
	if (v.kind != AFFINE_TABLE)
		return;
	low = affine_formula16(s->codes[0], t->scale, t->offset, v.biases);
	if (s->wide)
		t->entry = round16x2(low, affine_formula16(s->codes[1], t->scale, t->offset, v.biases), v.out);
	else
		t->entry = table16(low, v.out);
}

ALWAYS_INLINE void affine_store(char *dst, __m512 low, __m512 high, enum dtype out)
{
	if (out == DTYPE_F32) {
		_mm512_storeu_ps(dst, low);
		_mm512_storeu_ps(dst + 64, high);
	} else {
		_mm512_storeu_si512(dst, round16x2(low, high, out));
	}
}

ALWAYS_INLINE void affine_decode_block(char *dst, const unsigned char *src, const struct affine_spread *s,
    const struct affine_group_table *t, struct affine_variant v)
{
	__m512i code;
	__m512 low, high;

	if (v.kind == AFFINE_TABLE) {
		_mm512_storeu_si512(dst, _mm512_permutexvar_epi16(affine_fields(src, s), t->entry));
		return;
	}
	code = v.kind == AFFINE_OCTETS ? affine_octets(src, s) : _mm512_and_si512(affine_fields(src, s), s->mask);
	low = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(code)));
	high = _mm512_cvtepi32_ps(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(code, 1)));
	affine_store(dst, affine_formula16(low, t->scale, t->offset, v.biases),
	    affine_formula16(high, t->scale, t->offset, v.biases), v.out);
}

ALWAYS_INLINE affine_floats affine_widen(const unsigned char *src)
{
	return (affine_floats)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i_u *)src));
}

ALWAYS_INLINE void affine_spread_bytes(uint8_t *dst, const unsigned char *src, const struct affine_spread *s)
{
	_mm256_storeu_si256((__m256i_u *)dst, _mm512_cvtepi16_epi8(_mm512_and_si512(affine_fields(src, s), s->mask)));
}

ALWAYS_INLINE __m512 affine_load4(const float (*table)[AFFINE_STRIP], const uint32_t *index)
{
	const __m512 first = _mm512_castps128_ps512(_mm_loadu_ps(table[index[0]]));
	const __m512 two = _mm512_insertf32x4(first, _mm_loadu_ps(table[index[4]]), 1);

	return _mm512_insertf32x4(_mm512_insertf32x4(two, _mm_loadu_ps(table[index[8]]), 2),
	    _mm_loadu_ps(table[index[12]]), 3);
}

ALWAYS_INLINE void affine_gather(affine_floats to[AFFINE_STRIP], const float (*table)[AFFINE_STRIP],
    const uint32_t *index)
{
	__m512 column[4], low[2], high[2];

	UNROLL
	for (unsigned i = 0; i < 4; i++)
		column[i] = affine_load4(table, index + i);
	UNROLL
	for (unsigned i = 0; i < 2; i++) {
		low[i] = _mm512_unpacklo_ps(column[i], column[i + 2]);
		high[i] = _mm512_unpackhi_ps(column[i], column[i + 2]);
	}
	to[0] = (affine_floats)_mm512_unpacklo_ps(low[0], low[1]);
	to[1] = (affine_floats)_mm512_unpackhi_ps(low[0], low[1]);
	to[2] = (affine_floats)_mm512_unpacklo_ps(high[0], high[1]);
	to[3] = (affine_floats)_mm512_unpackhi_ps(high[0], high[1]);
}

void affine_init_avx512(struct affine_dsp *dsp)
{
	affine_install(dsp);
}

#endif
