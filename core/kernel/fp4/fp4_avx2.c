/* SPDX-License-Identifier: MIT */

/* AVX2 and F16C. Outputs of 16 bits are looked up as two tables of bytes, those of fp32 as two of 8 floats. */

#if defined(__x86_64__)

#if !defined(__AVX2__) || !defined(__F16C__)
#error "compile with -mavx2 -mf16c"
#endif

#include "kernel/simd/avx2.h"

/* Low and high bytes of 16-bit outputs, twice; or the floats of codes 0 to 7 and 8 to 15. */
struct fp4_outputs {
	__m256i low, high;
};

#define FP4_LANES 2

#include "kernel/fp4/fp4_groups.h"

ALWAYS_INLINE __m256i fp4_even_and_odd(__m128i plus, __m128i minus, char odd)
{
	const __m128i pick =
	    _mm_add_epi8(_mm_setr_epi8(0, 2, 4, 6, 8, 10, 12, 14, -128, -128, -128, -128, -128, -128, -128, -128),
		_mm_set1_epi8(odd));

	return _mm256_broadcastsi128_si256(_mm_unpacklo_epi64(_mm_shuffle_epi8(plus, pick),
	    _mm_shuffle_epi8(minus, pick)));
}

ALWAYS_INLINE struct fp4_outputs fp4_outputs_of(float scale, enum dtype out)
{
	const __m256 sign = _mm256_set1_ps(-0.0f), values = _mm256_setr_ps(0, 0.5f, 1, 1.5f, 2, 3, 4, 6);
	const __m256 product = _mm256_mul_ps(values, _mm256_set1_ps(scale)), plus = canonical_nan(product);
	const __m256 minus = canonical_nan(_mm256_xor_ps(product, sign));
	__m128i a, b;

	if (out == DTYPE_F32)
		return (struct fp4_outputs){_mm256_castps_si256(plus), _mm256_castps_si256(minus)};
	a = round16(plus, out);
	b = round16(minus, out);
	return (struct fp4_outputs){fp4_even_and_odd(a, b, 0), fp4_even_and_odd(a, b, 1)};
}

/* 8 codes, which are 4 bytes. */
ALWAYS_INLINE void fp4_look_up8(char *dst, const unsigned char *codes, const struct fp4_outputs *o)
{
	__m256i bytes, index;
	__m256 plus, minus, sign;
	uint32_t four;

	memcpy(&four, codes, sizeof(four));
	bytes = _mm256_cvtepu8_epi64(_mm_cvtsi32_si128((int)four));
	/* The nibble in the low bits of each element; the bits above 3 do no harm. */
	index = _mm256_or_si256(bytes, _mm256_slli_epi64(bytes, 28));
	plus = _mm256_permutevar8x32_ps(_mm256_castsi256_ps(o->low), index);
	minus = _mm256_permutevar8x32_ps(_mm256_castsi256_ps(o->high), index);
	sign = _mm256_castsi256_ps(_mm256_slli_epi32(index, 28));
	_mm256_storeu_ps((float *)dst, _mm256_blendv_ps(plus, minus, sign));
}

ALWAYS_INLINE void fp4_look_up(char *dst, const unsigned char *codes, const struct fp4_outputs *first,
    const struct fp4_outputs *second, enum dtype out)
{
	const __m128i both = _mm_loadu_si128((const __m128i_u *)codes), mask = _mm_set1_epi8(15);
	const __m128i even = _mm_and_si128(both, mask), odd = _mm_and_si128(_mm_srli_epi16(both, 4), mask);
	const __m256i code = _mm256_set_m128i(_mm_unpackhi_epi8(even, odd), _mm_unpacklo_epi8(even, odd));
	__m256i low = first->low, high = first->high, a, b;

	if (out == DTYPE_F32) {
		for (unsigned i = 0; i < 4; i++)
			fp4_look_up8(dst + i * 32, codes + i * 4, i < 2 || !second ? first : second);
		return;
	}
	if (second) {
		low = _mm256_blend_epi32(low, second->low, 0xf0);
		high = _mm256_blend_epi32(high, second->high, 0xf0);
	}
	low = _mm256_shuffle_epi8(low, code);
	high = _mm256_shuffle_epi8(high, code);
	a = _mm256_unpacklo_epi8(low, high);
	b = _mm256_unpackhi_epi8(low, high);
	_mm256_storeu_si256((__m256i_u *)dst, _mm256_permute2x128_si256(a, b, 0x20));
	_mm256_storeu_si256((__m256i_u *)(dst + 32), _mm256_permute2x128_si256(a, b, 0x31));
}

/* 8 codes of 6 bits, of which the two groups of three bytes are chosen by `pick`. */
ALWAYS_INLINE void fp6_decode8(char *dst, __m256i bytes, __m256i pick, __m256 scale, enum dtype out)
{
	const __m256i shift = _mm256_setr_epi32(0, 6, 12, 18, 0, 6, 12, 18);
	const __m256i code = _mm256_srlv_epi32(_mm256_shuffle_epi8(bytes, pick), shift);
	const __m256i magnitude = _mm256_and_si256(code, _mm256_set1_epi32(31));
	const __m256i sign = _mm256_and_si256(_mm256_slli_epi32(code, 26), _mm256_set1_epi32(INT32_MIN));
	/* Eighths below 1: as large as 1 more, less 1. */
	const __m256i small = _mm256_cmpgt_epi32(_mm256_set1_epi32(8), magnitude);
	const __m256i bits = _mm256_add_epi32(_mm256_slli_epi32(magnitude, 20),
	    _mm256_blendv_epi8(_mm256_set1_epi32(0x3f000000), _mm256_set1_epi32(0x3f800000), small));
	const __m256 one = _mm256_and_ps(_mm256_castsi256_ps(small), _mm256_set1_ps(1));
	const __m256 value = _mm256_sub_ps(_mm256_castsi256_ps(bits), one);
	const __m256 product = _mm256_mul_ps(_mm256_xor_ps(value, _mm256_castsi256_ps(sign)), scale);
	const __m256i upper = _mm256_srli_epi32(_mm256_castps_si256(product), 16);

	if (out == DTYPE_F32)
		_mm256_storeu_ps((float *)dst, product);
	else if (out == DTYPE_F16)
		_mm_storeu_si128((__m128i_u *)dst, round16(product, out));
	else
		_mm_storeu_si128((__m128i_u *)dst,
		    _mm_packus_epi32(_mm256_castsi256_si128(upper), _mm256_extracti128_si256(upper, 1)));
}

ALWAYS_INLINE void fp6_decode_unit(char *dst, const unsigned char *codes, float scale, enum dtype out)
{
	const __m256i first = _mm256_setr_epi8(0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, -1, 3, 4, 5, -1, 3, 4, 5,
	    -1, 3, 4, 5, -1, 3, 4, 5, -1);
	const __m256i second = _mm256_or_si256(_mm256_add_epi8(first, _mm256_set1_epi8(6)),
	    _mm256_cmpgt_epi8(_mm256_setzero_si256(), first));
	const size_t half = 8 * out_bytes(out);

	for (unsigned i = 0; i < 2; i++, codes += 12, dst += 2 * half) {
		__m256i bytes;
		uint32_t last;

		memcpy(&last, codes + 8, sizeof(last));
		bytes = _mm256_broadcastsi128_si256(_mm_insert_epi32(_mm_loadl_epi64((const __m128i_u *)codes),
		    (int)last, 2));
		fp6_decode8(dst, bytes, first, _mm256_set1_ps(scale), out);
		fp6_decode8(dst + half, bytes, second, _mm256_set1_ps(scale), out);
	}
}

/* ---- transposing ---- */

/* One of three steps, each of which puts row i + 4 between row i and the next. */
ALWAYS_INLINE void fp4_zip8(__m256i to[8], const __m256i from[8])
{
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		to[2 * i] = _mm256_unpacklo_epi16(from[i], from[i + 4]);
		to[2 * i + 1] = _mm256_unpackhi_epi16(from[i], from[i + 4]);
	}
}

ALWAYS_INLINE void fp4_zip4(__m256i to[4], const __m256i from[4])
{
	UNROLL
	for (unsigned i = 0; i < 2; i++) {
		to[2 * i] = _mm256_unpacklo_epi32(from[i], from[i + 2]);
		to[2 * i + 1] = _mm256_unpackhi_epi32(from[i], from[i + 2]);
	}
}

ALWAYS_INLINE void fp4_transpose_squares(char *pieces, const char *rows, enum dtype out)
{
	const uint32_t side = out == DTYPE_F32 ? 4 : 8;
	const size_t pitch = FP4_TILE * out_bytes(out);

	for (size_t at = 0; at < pitch; at += 32) {
		__m256i a[8], b[8];

		UNROLL
		for (uint32_t i = 0; i < side; i++)
			a[i] = _mm256_load_si256((const __m256i *)(rows + i * pitch + at));
		if (out == DTYPE_F32) {
			fp4_zip4(b, a);
			fp4_zip4(a, b);
		} else {
			fp4_zip8(b, a);
			fp4_zip8(a, b);
			fp4_zip8(b, a);
		}
		UNROLL
		for (uint32_t i = 0; i < side; i++, pieces += 32)
			_mm256_store_si256((__m256i *)pieces, out == DTYPE_F32 ? a[i] : b[i]);
	}
}

void fp4_init_avx2(struct fp4_dsp *dsp)
{
	fp4_install(dsp);
}

#endif
