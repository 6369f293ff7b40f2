/* SPDX-License-Identifier: MIT */

/* AVX-512: 16 columns, of which a row has as many words as a cache line. */

#if defined(__x86_64__)

#if !defined(__AVX512F__) || !defined(__AVX512BW__)
#error "compile with -mavx512f -mavx512bw"
#endif

#include <immintrin.h>

#define GGUF_COLUMNS 16

#include "kernel/gguf/gguf_strips.h"

ALWAYS_INLINE gguf_words gguf_load(const unsigned char *src, uint32_t n)
{
	if (n == GGUF_COLUMNS)
		return (gguf_words)_mm512_loadu_si512(src);
	return (gguf_words)_mm512_maskz_loadu_epi32((__mmask16)((1u << n) - 1), src);
}

ALWAYS_INLINE gguf_words gguf_zip8_low(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm512_unpacklo_epi8((__m512i)a, (__m512i)b);
}

ALWAYS_INLINE gguf_words gguf_zip8_high(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm512_unpackhi_epi8((__m512i)a, (__m512i)b);
}

ALWAYS_INLINE gguf_words gguf_zip32_low(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm512_unpacklo_epi32((__m512i)a, (__m512i)b);
}

ALWAYS_INLINE gguf_words gguf_zip32_high(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm512_unpackhi_epi32((__m512i)a, (__m512i)b);
}

ALWAYS_INLINE gguf_words gguf_zip64_low(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm512_unpacklo_epi64((__m512i)a, (__m512i)b);
}

ALWAYS_INLINE gguf_words gguf_zip64_high(gguf_words a, gguf_words b)
{
	return (gguf_words)_mm512_unpackhi_epi64((__m512i)a, (__m512i)b);
}

ALWAYS_INLINE void gguf_store(unsigned char *dst, gguf_words value, unsigned lane)
{
	__m128i bytes;

	/* The lane must be a constant of the instruction. */
	switch (lane) {
	case 0:
		bytes = _mm512_castsi512_si128((__m512i)value);
		break;
	case 1:
		bytes = _mm512_extracti32x4_epi32((__m512i)value, 1);
		break;
	case 2:
		bytes = _mm512_extracti32x4_epi32((__m512i)value, 2);
		break;
	default:
		bytes = _mm512_extracti32x4_epi32((__m512i)value, 3);
	}
	_mm_storeu_si128((__m128i_u *)dst, bytes);
}

void gguf_init_avx512(struct gguf_dsp *dsp)
{
	gguf_install_gptq(dsp);
}

#endif
