/* SPDX-License-Identifier: MIT */
#include <string.h>

#include "../test.h"
#include "quant/gptq/zeros.h"

static void examine(unsigned bits, int64_t base, enum zeros zeros, const uint32_t *words, struct zeros_finding *f)
{
	const struct qtensor q = {.in_features = 32,
	    .out_features = 32,
	    .groups = 1,
	    .group_size = 32,
	    .bits = (uint8_t)bits,
	    .word_bits = 32,
	    .packing = PACKING_STREAM,
	    .zeros = zeros};
	unsigned char row[32];

	memcpy(row, words, bits * 4);
	CHECK(zeros_examine(&q, row, base, f) == 0);
}

/* The words of a symmetric row as each writer left them: formats.md, "Known wrong-label checkpoints". */
static void test_faults(void)
{
	static const uint32_t good4[] = {0x77777777, 0x77777777, 0x77777777, 0x77777777};
	static const uint32_t v2as4[] = {0x88888888, 0x88888888, 0x88888888, 0x88888888};
	static const uint32_t other4[] = {0x77777777, 0x77777767, 0x77777777, 0x77777777};
	static const uint32_t good3[] = {0xdb6db6db, 0xb6db6db6, 0x6db6db6d};
	static const uint32_t reversed3[] = {0x00000000, 0xb6db6db7, 0x49249249};
	static const uint32_t base8[] = {
	    0x6f6f6f6f, 0x6f6f6f6f, 0x6f6f6f6f, 0x6f6f6f6f, 0x6f6f6f6f, 0x6f6f6f6f, 0x6f6f6f6f, 0x6f6f6f6f};
	struct zeros_finding f;

	examine(4, 4, ZEROS_V1, good4, &f);
	CHECK(f.middle && !f.fault);
	examine(4, 4, ZEROS_V2, v2as4, &f);
	CHECK(f.middle && !f.fault);
	examine(4, 4, ZEROS_V1, v2as4, &f);
	CHECK(!f.middle && f.fault && strstr(f.fault, "gptq_v2"));
	examine(4, 4, ZEROS_V1, other4, &f);
	CHECK(!f.middle && !f.fault);
	examine(4, 4, ZEROS_V2, good4, &f);
	CHECK(!f.middle && !f.fault);
	examine(3, 3, ZEROS_V1, good3, &f);
	CHECK(f.middle);
	examine(3, 3, ZEROS_V1, reversed3, &f);
	CHECK(!f.middle && f.fault && strstr(f.fault, "reversed"));
	examine(8, 4, ZEROS_V1, base8, &f);
	CHECK(!f.middle && f.fault && strstr(f.fault, "base width"));
	examine(8, 8, ZEROS_V1, base8, &f);
	CHECK(!f.middle && !f.fault);
}

int main(void)
{
	test_faults();
	return test_done();
}
