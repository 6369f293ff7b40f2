/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "quant/gptq/pack.h"
#include "../test.h"

#define COLUMNS 96

/* Rows of random zeros, packed word by word, must decode to the same, also if they end inside a word. */
static void round_trip(struct qtensor q)
{
	const size_t bytes = q.word_bits / 8;
	uint8_t zeros[COLUMNS + PACK_ZEROS_MAX] = {0};
	unsigned char row[COLUMNS * 8 / 8] = {0};
	bool same = true;

	for (uint32_t n = 0; n < q.out_features; n++)
		zeros[n] = (uint8_t)(rand() % 3 ? rand() : 0) & ((1u << q.bits) - 1);
	for (uint64_t i = 0; i * q.word_bits < (uint64_t)q.out_features * q.bits; i++) {
		uint64_t first, word;
		unsigned count;

		pack_range(&q, i, &first, &count);
		CHECK(count <= PACK_ZEROS_MAX && first < q.out_features);
		word = pack_zeros(&q, i, zeros + first);
		memcpy(row + i * bytes, &word, bytes);
	}
	q.qzeros = row;
	for (uint32_t n = 0; n < q.out_features; n++)
		same &= qtensor_zero(&q, 0, n) == zeros[n];
	if (!CHECK(same))
		printf("  %d bits, words of %d, packing %d, zeros %d, %u columns\n", q.bits, q.word_bits, q.packing,
		    q.zeros, q.out_features);
}

static void test_round_trips(void)
{
	static const uint8_t words[] = {8, 16, 32, 64}, bits[] = {2, 3, 4, 5, 6, 7, 8};

	for (size_t b = 0; b < sizeof(bits); b++)
		for (size_t w = 0; w < sizeof(words); w++)
			for (int v1 = 0; v1 < 2; v1++)
				for (uint32_t n = 1; n <= COLUMNS; n++) {
					struct qtensor q = {.bits = bits[b],
					    .word_bits = words[w],
					    .zeros = v1 ? ZEROS_V1 : ZEROS_V2,
					    .out_features = n};

					if ((words[w] % bits[b] == 0 && bits[b] != 3) ||
					    (bits[b] == 3 && words[w] == 32))
						round_trip(q);
					q.packing = PACKING_PLANAR;
					if (words[w] == 32 && (n % 32 == 0 || bits[b] == 4))
						round_trip(q);
				}
}

/* Words as files have them: see the description of the format. */
static void test_known(void)
{
	const uint8_t eight[PACK_ZEROS_MAX] = {8, 8, 8, 8, 8, 8, 8, 8},
		      borrow[PACK_ZEROS_MAX] = {0, 5, 8, 8, 8, 8, 8, 8};
	const struct qtensor v1 = {.bits = 4, .word_bits = 32, .zeros = ZEROS_V1};
	const struct qtensor v2 = {.bits = 4, .word_bits = 32, .zeros = ZEROS_V2};
	struct qtensor three = {.bits = 3, .word_bits = 32, .zeros = ZEROS_V2};
	uint8_t fours[PACK_ZEROS_MAX];

	memset(fours, 4, sizeof(fours));
	CHECK(pack_zeros(&v1, 0, eight) == 0x77777777 && pack_zeros(&v2, 0, eight) == 0x88888888);
	CHECK(pack_zeros(&v1, 0, borrow) == 0x7777773f);
	CHECK(pack_zeros(&three, 0, fours) == 0x24924924);
	CHECK(pack_zeros(&three, 1, fours) == 0x49249249 && pack_zeros(&three, 2, fours) == 0x92492492);
	three.zeros = ZEROS_V1;
	CHECK(pack_zeros(&three, 0, fours) == 0xdb6db6db);
	CHECK(pack_zeros(&three, 1, fours) == 0xb6db6db6 && pack_zeros(&three, 2, fours) == 0x6db6db6d);
}

int main(void)
{
	srand(7);
	test_round_trips();
	test_known();
	return test_done();
}
