/* SPDX-License-Identifier: MIT */

/* Vectors of 16 bytes: SSSE3 and NEON. */

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__x86_64__) && !defined(__SSSE3__)
#error "compile with -mssse3"
#endif

#include "kernel/gguf/gguf.h"
#include "kernel/simd/vector.h"

/* --- From levels: 8 in a vector, a quarter of a block of 32 --- */

/* 8 levels plus `add`. */
ALWAYS_INLINE halves8 gguf_levels(const uint16_t *level, uint16_t add)
{
	halves8 half, sign;

	memcpy(&half, level, sizeof(half));
	sign = (halves8)((shorts8)half >> 15);
	return (((half & 0x7fff) ^ sign) - sign) + add;
}

/* The low bytes of 16 levels plus `add`. */
ALWAYS_INLINE bytes16 gguf_fields(const uint16_t *level, uint16_t add)
{
	const bytes16 low = (bytes16)gguf_levels(level, add), high = (bytes16)gguf_levels(level + 8, add);

	return __builtin_shufflevector(low, high, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

static void vector_q4_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	unsigned char *to = dst;

	for (size_t b = 0; b < blocks; b++, to += 18) {
		const uint16_t *level = w->level + b * 32;
		const bytes16 nibbles = gguf_fields(level, 8) | gguf_fields(level + 16, 8) << 4;

		memcpy(to, &w->scale[b], 2);
		memcpy(to + 2, &nibbles, sizeof(nibbles));
	}
}

/* Bit 4 of each of 16 bytes. */
ALWAYS_INLINE uint32_t gguf_fifth_bits(bytes16 field)
{
	const bytes16 bit = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
	const longs2 bits = (longs2)((bytes16)(field >= 16) & bit);

	/* No bit meets another in these sums of bytes. */
	return (uint32_t)(bits[0] * 0x0101010101010101 >> 56 | bits[1] * 0x0101010101010101 >> 56 << 8);
}

static void vector_q5_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	unsigned char *to = dst;

	for (size_t b = 0; b < blocks; b++, to += 22) {
		const bytes16 first = gguf_fields(w->level + b * 32, 16);
		const bytes16 second = gguf_fields(w->level + b * 32 + 16, 16);
		const bytes16 nibbles = (first & 15) | second << 4;
		const uint32_t high = gguf_fifth_bits(first) | gguf_fifth_bits(second) << 16;

		memcpy(to, &w->scale[b], 2);
		memcpy(to + 2, &high, sizeof(high));
		memcpy(to + 6, &nibbles, sizeof(nibbles));
	}
}

static void vector_q8_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	unsigned char *to = dst;

	for (size_t b = 0; b < blocks; b++, to += 34) {
		const bytes16 codes[2] = {gguf_fields(w->level + b * 32, 0), gguf_fields(w->level + b * 32 + 16, 0)};

		memcpy(to, &w->scale[b], 2);
		memcpy(to + 2, codes, sizeof(codes));
	}
}

/* 16 codes of 2 bits: 4 bytes, of four codes each. */
ALWAYS_INLINE uint32_t gguf_fours(bytes16 code)
{
	const words4 word = (words4)code, four = word | word >> 6 | word >> 12 | word >> 18;
	const bytes16 bytes = look_up((bytes16)four, (bytes16){0, 4, 8, 12});

	return ((words4)bytes)[0];
}

static void vector_q2_0(void *dst, const struct gguf_row *w, size_t blocks)
{
	unsigned char *to = dst;

	for (size_t b = 0; b < blocks; b++, to += 18) {
		const bool minus = w->zero[b] == 2;
		const uint16_t scale = w->scale[b] ^ (minus ? 0x8000 : 0);

		memcpy(to, &scale, 2);
		for (size_t i = 0; i < 4; i++) {
			const bytes16 level = gguf_fields(w->level + b * 64 + i * 16, 0);
			const uint32_t codes = gguf_fours((minus ? -level : level) + 1);

			memcpy(to + 2 + i * 4, &codes, sizeof(codes));
		}
	}
}

/* --- From nibbles in the order of their row --- */

static void vector_nibbles(void *dst, const unsigned char *codes, const uint16_t *scale, size_t blocks)
{
	unsigned char *to = dst;

	for (size_t b = 0; b < blocks; b++, to += 18) {
		bytes16 all, even, odd, nibbles;

		memcpy(&all, codes + b * 16, sizeof(all));
		even = all & 15;
		odd = all >> 4;
		nibbles = zip_low8(even, odd) | zip_high8(even, odd) << 4;
		memcpy(to, &scale[b], 2);
		memcpy(to + 2, &nibbles, sizeof(nibbles));
	}
}

/* --- From the words of GPTQ --- */

#define GGUF_COLUMNS 4

#include "kernel/gguf/gguf_strips.h"

ALWAYS_INLINE gguf_words gguf_load(const unsigned char *src, uint32_t n)
{
	gguf_words value = {0};

	if (n == GGUF_COLUMNS)
		memcpy(&value, src, sizeof(value));
	else
		memcpy(&value, src, n * 4);
	return value;
}

ALWAYS_INLINE gguf_words gguf_zip8_low(gguf_words a, gguf_words b)
{
	return (gguf_words)zip_low8((bytes16)a, (bytes16)b);
}

ALWAYS_INLINE gguf_words gguf_zip8_high(gguf_words a, gguf_words b)
{
	return (gguf_words)zip_high8((bytes16)a, (bytes16)b);
}

ALWAYS_INLINE gguf_words gguf_zip32_low(gguf_words a, gguf_words b)
{
	return zip_low32(a, b);
}

ALWAYS_INLINE gguf_words gguf_zip32_high(gguf_words a, gguf_words b)
{
	return zip_high32(a, b);
}

ALWAYS_INLINE gguf_words gguf_zip64_low(gguf_words a, gguf_words b)
{
	return zip_low64(a, b);
}

ALWAYS_INLINE gguf_words gguf_zip64_high(gguf_words a, gguf_words b)
{
	return zip_high64(a, b);
}

ALWAYS_INLINE void gguf_store(unsigned char *dst, gguf_words value, unsigned lane)
{
	(void)lane;
	memcpy(dst, &value, sizeof(value));
}

void gguf_init_vector(struct gguf_dsp *dsp)
{
	dsp->pack[GGUF_Q2_0] = vector_q2_0;
	dsp->pack[GGUF_Q4_0] = vector_q4_0;
	dsp->pack[GGUF_Q5_0] = vector_q5_0;
	dsp->pack[GGUF_Q8_0] = vector_q8_0;
	dsp->nibbles = vector_nibbles;
	gguf_install_gptq(dsp);
}

#endif
