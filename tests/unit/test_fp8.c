/* SPDX-License-Identifier: MIT */

/* Compares the FP8 reference with values computed by hand; check_kernel compares the kernels with the reference. */

#include <math.h>
#include <string.h>

#include "../test.h"
#include "base/half.h"
#include "kernel/kernels.h"

enum { NAN_F16 = 0x7e00, NAN_BF16 = 0x7fc0, NAN_F32 = 0x7fc00000 };

static struct kernels kernels;

/* One weight of one code and an F32 scale, as the bits of the output type. */
static uint32_t weight(enum dtype code_dtype, uint8_t code, uint32_t scale, enum dtype out)
{
	const struct fp8_tensor t = {1, 1, 128, 128, code_dtype, DTYPE_F32, false, &code, (unsigned char *)&scale};
	uint32_t bits = 0;

	kernels.fp8.rows[out](&bits, &t, &(struct kernel_rect){0, 1, 0, 1});
	return bits;
}

static void check_codes(void)
{
	static const struct {
		enum dtype dtype;
		uint8_t code;
		double value;
	} cases[] = {
	    {DTYPE_F8_E4M3, 0x01, 0x1p-9},
	    {DTYPE_F8_E4M3, 0x02, 0x1p-8},
	    {DTYPE_F8_E4M3, 0x03, 0x3p-9},
	    {DTYPE_F8_E4M3, 0x07, 0x7p-9},
	    {DTYPE_F8_E4M3, 0x08, 0x1p-6},
	    {DTYPE_F8_E4M3, 0x38, 1},
	    {DTYPE_F8_E4M3, 0xb9, -1.125},
	    {DTYPE_F8_E4M3, 0x78, 256},
	    {DTYPE_F8_E4M3, 0xfe, -448},
	    {DTYPE_F8_E5M2, 0x01, 0x1p-16},
	    {DTYPE_F8_E5M2, 0x83, -0x3p-16},
	    {DTYPE_F8_E5M2, 0x3c, 1},
	    {DTYPE_F8_E5M2, 0x7b, 57344},
	    {DTYPE_F8_E5M2, 0xfc, -(double)INFINITY},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		CHECK(float_of_bits(weight(cases[i].dtype, cases[i].code, 0x3f800000, DTYPE_F32)) == cases[i].value);
	CHECK(weight(DTYPE_F8_E4M3, 0x00, 0x3f800000, DTYPE_F32) == 0);
	CHECK(weight(DTYPE_F8_E4M3, 0x80, 0x3f800000, DTYPE_F32) == 0x80000000);
	CHECK(weight(DTYPE_F8_E4M3, 0x80, 0x3f800000, DTYPE_BF16) == 0x8000);
	CHECK(weight(DTYPE_F8_E4M3, 0x7f, 0x3f800000, DTYPE_F16) == NAN_F16);
	CHECK(weight(DTYPE_F8_E4M3, 0xff, 0x3f800000, DTYPE_BF16) == NAN_BF16);
	CHECK(weight(DTYPE_F8_E5M2, 0x7d, 0x3f800000, DTYPE_F32) == NAN_F32);
	CHECK(weight(DTYPE_F8_E5M2, 0xff, 0xbf800000, DTYPE_F32) == NAN_F32);
}

static void check_scales(void)
{
	/* 1.125 times this is just above a tie of bf16, and a tie after rounding to fp32. */
	CHECK(weight(DTYPE_F8_E4M3, 0x39, 0x3fe238e4, DTYPE_BF16) == 0x3ffe);
	CHECK(weight(DTYPE_F8_E4M3, 0x38, 0xffc00001, DTYPE_F32) == NAN_F32);
	CHECK(weight(DTYPE_F8_E4M3, 0x00, 0x7f800000, DTYPE_F16) == NAN_F16); /* 0 * inf */
	CHECK(weight(DTYPE_F8_E4M3, 0xb8, 0x7f800000, DTYPE_F16) == 0xfc00);
	CHECK(weight(DTYPE_F8_E4M3, 0x38, 0x00000001, DTYPE_F32) == 1); /* subnormal */
	CHECK(weight(DTYPE_F8_E4M3, 0x40, 0x00000001, DTYPE_F32) == 2);
	CHECK(weight(DTYPE_F8_E4M3, 0x08, 0x80000040, DTYPE_F32) == 0x80000001);
	CHECK(weight(DTYPE_F8_E4M3, 0x7e, 0x7f000000, DTYPE_F32) == 0x7f800000); /* overflow */
	CHECK(weight(DTYPE_F8_E4M3, 0x7e, 0x43800000, DTYPE_F16) == 0x7c00);
}

/* 192 rows in blocks of 128 are 128 and 64; 5 columns in blocks of 2 are 2, 2 and 1. Scales of every type. */
static void check_grid(void)
{
	static const uint16_t bf16[2][3] = {{0x3f80, 0x4000, 0x4040}, {0x4080, 0x40a0, 0x40c0}}; /* 1 to 6 */
	static const uint16_t f16[2][3] = {{0x3c00, 0x4000, 0x4200}, {0x4400, 0x4500, 0x4600}};
	static const uint8_t e8m0[2][3] = {{127, 128, 129}, {130, 131, 0}};
	struct fp8_tensor t = {192, 5, 128, 2, DTYPE_F8_E4M3, DTYPE_BF16, false, NULL, (const unsigned char *)bf16};
	unsigned char codes[192 * 5];
	float out[4];

	memset(codes, 0x38, sizeof(codes));
	t.codes = codes;
	kernels.fp8.rows[DTYPE_F32](out, &t, &(struct kernel_rect){127, 2, 3, 2});
	CHECK(out[0] == 2 && out[1] == 3 && out[2] == 5 && out[3] == 6);
	t.scale_dtype = DTYPE_F16;
	t.scales = (const unsigned char *)f16;
	kernels.fp8.rows[DTYPE_F32](out, &t, &(struct kernel_rect){126, 2, 1, 2});
	CHECK(out[0] == 1 && out[1] == 2 && out[2] == 1 && out[3] == 2);
	t.divide = true;
	kernels.fp8.rows[DTYPE_F32](out, &t, &(struct kernel_rect){191, 1, 2, 3});
	CHECK(out[0] == 0.2f && out[1] == 0.2f && out[2] == 1 / 6.0f);
	t.divide = false;
	t.scale_dtype = DTYPE_F8_E8M0;
	t.scales = e8m0[0];
	kernels.fp8.rows[DTYPE_F32](out, &t, &(struct kernel_rect){128, 1, 1, 4});
	CHECK(out[0] == 8 && out[1] == 16 && out[2] == 16 && out[3] == 0x1p-127f);
}

int main(void)
{
	for (enum cpu_level level = CPU_C; level <= cpu_detect(); level++) {
		kernels_init(&kernels, level);
		check_codes();
		check_scales();
		check_grid();
	}
	return test_done();
}
