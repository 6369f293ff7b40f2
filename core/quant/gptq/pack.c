/* SPDX-License-Identifier: MIT */
#include "quant/gptq/pack.h"

#include <stdbool.h>

/* True for 2, 4 and 8 bits: a word holds whole fields. */
static bool is_power(const struct qtensor *q)
{
	return (q->bits & (q->bits - 1)) == 0;
}

void pack_range(const struct qtensor *q, uint64_t index, uint64_t *first, unsigned *count)
{
	if (qtensor_is_planar(q)) {
		*first = index / q->bits * 32;
		*count = 32;
		return;
	}
	*first = index * q->word_bits / q->bits;
	*count = (unsigned)(((index + 1) * q->word_bits + q->bits - 1) / q->bits - *first);
}

/* Returns the field that encodes a zero. If the whole word is offset (see ZEROS_V1), that is done later. */
static uint64_t field_of(const struct qtensor *q, uint8_t zero)
{
	const unsigned mask = (1u << q->bits) - 1;

	return q->zeros == ZEROS_V1 && !is_power(q) ? (zero - 1u) & mask : zero;
}

static uint64_t stream_word(const struct qtensor *q, uint64_t index, const uint8_t *zeros)
{
	uint64_t first, word = 0;
	unsigned count;

	pack_range(q, index, &first, &count);
	for (unsigned i = 0; i < count; i++) {
		const int64_t bit = (int64_t)((first + i) * q->bits) - (int64_t)(index * q->word_bits);
		const uint64_t field = field_of(q, zeros[i]);

		word |= bit < 0 ? field >> -bit : field << bit;
	}
	return word;
}

static uint64_t planar_word(const struct qtensor *q, uint64_t index, const uint8_t *zeros)
{
	unsigned in_block = (unsigned)(index % q->bits), low = 0, width = 4, per_word;
	uint64_t word = 0;

	/* Find the word's plane; a plane of `width` bits has `width` words. */
	for (; !(q->bits & width) || in_block >= width; width /= 2)
		if (q->bits & width) {
			in_block -= width;
			low += width;
		}
	per_word = 32 / width;
	for (unsigned i = 0; i < per_word; i++) {
		const uint64_t field = field_of(q, zeros[in_block * per_word + i]) >> low & ((1u << width) - 1);

		word |= field << (i * width);
	}
	return word;
}

uint64_t pack_zeros(const struct qtensor *q, uint64_t index, const uint8_t zeros[PACK_ZEROS_MAX])
{
	const uint64_t whole = ~0ull >> (64 - q->word_bits);

	if (qtensor_is_planar(q))
		return planar_word(q, index, zeros);
	/* Subtracts 1 from every field at once, with borrows from fields that are 0. */
	return (stream_word(q, index, zeros) -
		   (q->zeros == ZEROS_V1 && is_power(q) ? ~0ull / ((1u << q->bits) - 1) : 0)) &
	       whole;
}
