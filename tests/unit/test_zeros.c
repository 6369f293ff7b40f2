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

/* The words of a symmetric row as each writer left them: see core/quant/gptq/zeros.h. */
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

/* The constant that a version took from word 0 of a row; 0: as the format says; 1: nobody knows. */
static uint32_t shift_of(uint32_t version, int64_t base, int bits)
{
	const struct zeros_shift *shift;

	return zeros_find_shift(version, base, bits, &shift) ? 1 : shift ? shift->words[0] : 0;
}

static void test_versions(void)
{
	CHECK(shift_of(0, 3, 3) == 0 && shift_of(809, 3, 3) == 0);
	CHECK(shift_of(900, 3, 3) == 0x24924924 && shift_of(60003, 3, 3) == 0x24924924);
	CHECK(shift_of(60100, 3, 3) == 1 && shift_of(69999, 3, 3) == 1);
	CHECK(shift_of(70000, 3, 3) == 0 && shift_of(70302, 3, 3) == 0);
	CHECK(shift_of(60003, 4, 4) == 0 && shift_of(70301, 8, 8) == 0);
	CHECK(shift_of(60003, 4, 8) == 0x11111111 && shift_of(70301, 4, 3) == 0x11111111);
	CHECK(shift_of(60003, 3, 8) == 0x24924924 && shift_of(70301, 3, 8) == 1);
	CHECK(shift_of(60003, 8, 2) == 0x01010101 && shift_of(60003, 2, 4) == 0x55555555);
	CHECK(shift_of(70302, 4, 8) == 0 && shift_of(70302, 3, 8) == 0);
	CHECK(shift_of(60003, 0, 8) == 0 && shift_of(60003, 5, 8) == 0);
}

int main(void)
{
	test_faults();
	test_versions();
	return test_done();
}
