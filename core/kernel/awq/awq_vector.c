/* SPDX-License-Identifier: MIT */

/* Vectors of 16 bytes, for SSSE3 and NEON: halves of words change places eight by eight. */

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__x86_64__) && !defined(__SSSE3__)
#error "compile with -mssse3"
#endif

#include "kernel/simd/nibbles_vector.h"

/* The low and the high bytes of half h of the words of rows 0 to 15, and of rows 16 to 31. */
struct awq_block {
	bytes16 low[8][2], high[8][2];
};

#include "kernel/awq/awq_tiles.h"

/* 8 rows of 8 halves become 8 halves of 8 rows. */
ALWAYS_INLINE void awq_transpose(words4 to[8], const unsigned char *src)
{
	halves8 row[8];
	words4 pair[8], four[8];

	UNROLL
	for (unsigned i = 0; i < 8; i++)
		memcpy(&row[i], src + i * AWQ_LINE, sizeof(row[i]));
	UNROLL
	for (unsigned i = 0; i < 8; i += 2) {
		pair[i] = (words4)zip_low16(row[i], row[i + 1]);
		pair[i + 1] = (words4)zip_high16(row[i], row[i + 1]);
	}
	UNROLL
	for (unsigned i = 0; i < 8; i += 4) {
		four[i] = zip_low32(pair[i], pair[i + 2]);
		four[i + 1] = zip_high32(pair[i], pair[i + 2]);
		four[i + 2] = zip_low32(pair[i + 1], pair[i + 3]);
		four[i + 3] = zip_high32(pair[i + 1], pair[i + 3]);
	}
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		to[2 * i] = zip_low64(four[i], four[i + 4]);
		to[2 * i + 1] = zip_high64(four[i], four[i + 4]);
	}
}

ALWAYS_INLINE void awq_load(struct awq_block *to, const unsigned char *src)
{
	for (unsigned i = 0; i < 2; i++) {
		words4 first[8], second[8];

		awq_transpose(first, src + (size_t)i * 16 * AWQ_LINE);
		awq_transpose(second, src + (size_t)(i * 16 + 8) * AWQ_LINE);
		UNROLL
		for (unsigned h = 0; h < 8; h++) {
			to->low[h][i] = even_bytes(first[h], second[h]);
			to->high[h][i] = odd_bytes(first[h], second[h]);
		}
	}
}

/* The lower or the upper nibbles. */
ALWAYS_INLINE bytes16 nibbles_of(bytes16 bytes, bool upper)
{
	return (bytes16)((upper ? (words4)bytes >> 4 : (words4)bytes) & 0x0f0f0f0f);
}

ALWAYS_INLINE nibble_codes awq_column(const struct awq_block *block, uint32_t word, unsigned i)
{
	const bytes16 *bytes = i < 4 ? block->low[word * 2 + i % 2] : block->high[word * 2 + i % 2];

	return (nibble_codes){{nibbles_of(bytes[0], i / 2 % 2), nibbles_of(bytes[1], i / 2 % 2)}};
}

ALWAYS_INLINE nibble_codes awq_row_codes(const unsigned char *src)
{
	bytes16 bytes, even, odd;

	memcpy(&bytes, src, sizeof(bytes));
	even = nibbles_of(bytes, false);
	odd = nibbles_of(bytes, true);
	return (nibble_codes){{zip_low8(even, odd), zip_high8(even, odd)}};
}

/* Input 8b + j is in nibble b of word j. */
ALWAYS_INLINE nibble_codes awq_fast_codes(const unsigned char *src)
{
	halves8 words;

	memcpy(&words, src, sizeof(words));
	return (nibble_codes){{even_bytes((words4)(words & 15), (words4)(words >> 4 & 15)),
	    even_bytes((words4)(words >> 8 & 15), (words4)(words >> 12))}};
}

void awq_init_vector(struct awq_dsp *dsp)
{
	awq_install(dsp);
}

#endif
