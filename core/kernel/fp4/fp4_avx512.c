/* SPDX-License-Identifier: MIT */

/* AVX-512: a table of outputs is a register, and 32 codes of 16 bits are a cache line. */

#if defined(__x86_64__)

#if !defined(__AVX512F__) || !defined(__AVX512BW__) || !defined(__AVX512DQ__) || !defined(__AVX512VL__)
#error "compile with -mavx512f -mavx512bw -mavx512dq -mavx512vl"
#endif

#include "kernel/simd/avx512.h"

/* 16 floats, or 16 outputs of 16 bits twice. */
struct fp4_outputs {
	__m512i table;
};

#define FP4_LANES 4

#include "kernel/fp4/fp4_groups.h"

ALWAYS_INLINE struct fp4_outputs fp4_outputs_of(float scale, enum dtype out)
{
	const __m512 values = _mm512_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6, -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6);
	const __m512 product = canonical_nan(_mm512_mul_ps(values, _mm512_set1_ps(scale)));

	if (out == DTYPE_F32)
		return (struct fp4_outputs){_mm512_castps_si512(product)};
	return (struct fp4_outputs){table16(product, out)};
}

/* 16 codes, which are 8 bytes. */
ALWAYS_INLINE void fp4_look_up16(char *dst, const unsigned char *codes, const struct fp4_outputs *o)
{
	const __m512i bytes = _mm512_cvtepu8_epi64(_mm_loadl_epi64((const __m128i_u *)codes));
	/* The nibble in the low bits of each element; the bits above 3 do no harm. */
	const __m512i index = _mm512_or_si512(bytes, _mm512_slli_epi64(bytes, 28));

	_mm512_storeu_si512(dst, _mm512_permutexvar_epi32(index, o->table));
}

ALWAYS_INLINE void fp4_look_up(char *dst, const unsigned char *codes, const struct fp4_outputs *first,
    const struct fp4_outputs *second, enum dtype out)
{
	const __m512i bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i_u *)codes));
	__m512i index = _mm512_or_si512(bytes, _mm512_slli_epi32(bytes, 12)), table = first->table;

	if (out == DTYPE_F32) {
		fp4_look_up16(dst, codes, first);
		fp4_look_up16(dst + 64, codes + 8, second ? second : first);
		return;
	}
	if (second) { /* the upper half of the codes is looked up in the upper half of the table */
		index = _mm512_and_si512(index, _mm512_set1_epi16(15));
		index = _mm512_mask_or_epi32(index, 0xff00, index, _mm512_set1_epi16(16));
		table = _mm512_mask_mov_epi64(table, 0xf0, second->table);
	}
	_mm512_storeu_si512(dst, _mm512_permutexvar_epi16(index, table));
}

/* 16 codes of 6 bits, which are 12 bytes. */
ALWAYS_INLINE __m512 fp6_products(const unsigned char *codes, float scale)
{
	const __m512 low = _mm512_setr_ps(0, 0.125f, 0.25f, 0.375f, 0.5f, 0.625f, 0.75f, 0.875f, 1, 1.125f, 1.25f,
	    1.375f, 1.5f, 1.625f, 1.75f, 1.875f);
	const __m512 high =
	    _mm512_setr_ps(2, 2.25f, 2.5f, 2.75f, 3, 3.25f, 3.5f, 3.75f, 4, 4.5f, 5, 5.5f, 6, 6.5f, 7, 7.5f);
	/* Three bytes for each lane, four times. */
	const __m512i pick = _mm512_add_epi8(_mm512_set1_epi32(0x80020100),
	    _mm512_setr_epi32(0, 0, 0, 0, 0x030303, 0x030303, 0x030303, 0x030303, 0x060606, 0x060606, 0x060606,
		0x060606, 0x090909, 0x090909, 0x090909, 0x090909));
	const __m512i shift = _mm512_broadcast_i32x4(_mm_setr_epi32(0, 6, 12, 18));
	const __m512i bytes = _mm512_broadcast_i32x4(_mm_maskz_loadu_epi8(0x0fff, codes));
	/* What is above bit 4 does no harm to the look-up. */
	const __m512i code = _mm512_srlv_epi32(_mm512_shuffle_epi8(bytes, pick), shift);
	const __m512i sign = _mm512_and_si512(_mm512_slli_epi32(code, 26), _mm512_set1_epi32(INT32_MIN));
	const __m512 value = _mm512_permutex2var_ps(low, code, high);

	return _mm512_mul_ps(_mm512_xor_ps(value, _mm512_castsi512_ps(sign)), _mm512_set1_ps(scale));
}

ALWAYS_INLINE void fp6_decode_unit(char *dst, const unsigned char *codes, float scale, enum dtype out)
{
	const __m512 low = fp6_products(codes, scale), high = fp6_products(codes + 12, scale);

	if (out != DTYPE_F32) {
		_mm512_storeu_si512(dst, round16x2(low, high, out));
		return;
	}
	_mm512_storeu_ps(dst, low);
	_mm512_storeu_ps(dst + 64, high);
}

/* ---- transposing ---- */

/* One of three steps, each of which puts row i + 4 between row i and the next. */
ALWAYS_INLINE void fp4_zip8(__m512i to[8], const __m512i from[8])
{
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		to[2 * i] = _mm512_unpacklo_epi16(from[i], from[i + 4]);
		to[2 * i + 1] = _mm512_unpackhi_epi16(from[i], from[i + 4]);
	}
}

ALWAYS_INLINE void fp4_zip4(__m512i to[4], const __m512i from[4])
{
	UNROLL
	for (unsigned i = 0; i < 2; i++) {
		to[2 * i] = _mm512_unpacklo_epi32(from[i], from[i + 2]);
		to[2 * i + 1] = _mm512_unpackhi_epi32(from[i], from[i + 2]);
	}
}

ALWAYS_INLINE void fp4_transpose_squares(char *pieces, const char *rows, enum dtype out)
{
	const uint32_t side = out == DTYPE_F32 ? 4 : 8;
	const size_t pitch = FP4_TILE * out_bytes(out);

	for (size_t at = 0; at < pitch; at += 64) {
		__m512i a[8], b[8];

		UNROLL
		for (uint32_t i = 0; i < side; i++)
			a[i] = _mm512_load_si512(rows + i * pitch + at);
		if (out == DTYPE_F32) {
			fp4_zip4(b, a);
			fp4_zip4(a, b);
		} else {
			fp4_zip8(b, a);
			fp4_zip8(a, b);
			fp4_zip8(b, a);
		}
		UNROLL
		for (uint32_t i = 0; i < side; i++, pieces += 64)
			_mm512_store_si512(pieces, out == DTYPE_F32 ? a[i] : b[i]);
	}
}

void fp4_init_avx512(struct fp4_dsp *dsp)
{
	fp4_install(dsp);
}

#endif
