/* SPDX-License-Identifier: MIT */

/* MXFP4, MXFP6 and NVFP4: the reference, against values worked out by hand. check_kernel compares kernels with it. */

#include <math.h>
#include <string.h>

#include "../test.h"
#include "base/half.h"
#include "kernel/kernels.h"

enum { NAN_F16 = 0x7e00, NAN_BF16 = 0x7fc0, NAN_F32 = 0x7fc00000 };

static struct kernels kernels;

/* The first weight of a group of the same code, as the bits of the output type. */
static uint32_t weight(struct fp4_tensor t, unsigned code, uint8_t scale, enum dtype out)
{
	unsigned char codes[24];
	uint32_t bits[32] = {0};

	memset(codes, (int)(code | code << 4), sizeof(codes));
	t.rows = 1;
	t.columns = t.group;
	t.codes = codes;
	t.scales = &scale;
	kernels.fp4.rows[out](bits, &t, &(struct kernel_rect){0, 1, 0, t.group});
	return out == DTYPE_F32 ? bits[0] : bits[0] & 0xffff;
}

static uint32_t mx(unsigned code, uint8_t scale, enum dtype out)
{
	const struct fp4_tensor t = {.group = 32, .code_dtype = DTYPE_F4, .scale_dtype = DTYPE_F8_E8M0};

	return weight(t, code, scale, out);
}

static uint32_t nv(unsigned code, uint8_t scale, uint32_t global, bool divide)
{
	const struct fp4_tensor t = {.group = 16,
	    .code_dtype = DTYPE_F4,
	    .scale_dtype = DTYPE_F8_E4M3,
	    .divide = divide,
	    .global = (const unsigned char *)&global};

	return weight(t, code, scale, DTYPE_F32);
}

static void check_codes(void)
{
	static const float values[] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};

	for (unsigned i = 0; i < 8; i++) {
		CHECK(float_of_bits(mx(i, 127, DTYPE_F32)) == values[i]);
		CHECK(float_of_bits(mx(i | 8, 127, DTYPE_F32)) == -values[i]);
	}
	CHECK(mx(0, 127, DTYPE_F16) == 0);
	CHECK(mx(8, 127, DTYPE_F16) == 0x8000); /* -0.0 */
	CHECK(mx(8, 127, DTYPE_BF16) == 0x8000);
}

static void check_exponents(void)
{
	CHECK(mx(2, 0, DTYPE_F32) == 0x00400000);   /* 2^-127 */
	CHECK(mx(9, 0, DTYPE_F32) == 0x80200000);   /* -2^-128 */
	CHECK(mx(1, 0, DTYPE_BF16) == 0x0020);      /* a subnormal of bf16 too */
	CHECK(mx(3, 254, DTYPE_F32) == 0x7f400000); /* 1.5 * 2^127 */
	CHECK(mx(4, 254, DTYPE_F32) == 0x7f800000); /* 2^128 */
	CHECK(mx(15, 254, DTYPE_BF16) == 0xff80);
	CHECK(mx(7, 140, DTYPE_F16) == 0x7a00);  /* 49152 */
	CHECK(mx(7, 141, DTYPE_F16) == 0x7c00);  /* 98304 */
	CHECK(mx(3, 103, DTYPE_F16) == 0x0002);  /* 1.5 * 2^-24 is half way, to even */
	CHECK(mx(2, 102, DTYPE_F16) == 0x0000);  /* half of the smallest, likewise */
	CHECK(mx(11, 102, DTYPE_F16) == 0x8001); /* three quarters of it */
	CHECK(mx(0, 255, DTYPE_F32) == NAN_F32);
	CHECK(mx(13, 255, DTYPE_F16) == NAN_F16);
	CHECK(mx(8, 255, DTYPE_BF16) == NAN_BF16);
}

static void check_globals(void)
{
	/* E4M3 0x38 is 1, 0x3c is 1.5, 0x01 is 2^-9, 0x7e is 448, 0x7f is NaN. */
	CHECK(float_of_bits(nv(7, 0x3c, bits_of_float(0.25f), false)) == 2.25f);
	CHECK(float_of_bits(nv(7, 0x3c, bits_of_float(0.25f), true)) == 36);
	CHECK(nv(5, 0x38, bits_of_float(3), true) == 0x3f800000);
	CHECK(nv(7, 0x38, bits_of_float(3), true) == 0x40000000);
	/* 3 * fl(1/7); 3/7 would be rounded to 0x3edb6db7. */
	CHECK(nv(5, 0x38, bits_of_float(7), true) == 0x3edb6db8);
	CHECK(nv(2, 0x01, 0x00000200, false) == 1); /* subnormal: 2^-9 * 2^-140 */
	CHECK(nv(1, 0x01, 0x00000200, false) == 0); /* half of that, to even */
	CHECK(nv(2, 0x7e, 0, true) == 0x7f800000);
	CHECK(nv(0, 0x7e, 0, true) == NAN_F32); /* 0 * inf */
	CHECK(nv(2, 0x00, 0, true) == NAN_F32); /* 0 / 0 */
	CHECK(nv(10, 0x7f, bits_of_float(1), false) == NAN_F32);
	CHECK(nv(2, 0xb8, bits_of_float(2), false) == 0xc0000000);
}

/* Codes of 6 bits, the lowest bit first: 1, 2, 3 and 63 are 0xfc3081. */
static void check_six(void)
{
	static const unsigned char scale = 128;
	unsigned char codes[24] = {0x81, 0x30, 0xfc};
	const struct fp4_tensor t = {.rows = 1,
	    .columns = 32,
	    .group = 32,
	    .code_dtype = DTYPE_F6_E2M3,
	    .scale_dtype = DTYPE_F8_E8M0,
	    .codes = codes,
	    .scales = &scale};
	float out[32];

	kernels.fp4.rows[DTYPE_F32](out, &t, &(struct kernel_rect){0, 1, 0, 32});
	CHECK(out[0] == 0.25f && out[1] == 0.5f && out[2] == 0.75f && out[3] == -15 && out[4] == 0);
}

/* Row k of a matrix that is transposed has code k of each row. */
static void check_transposed(void)
{
	static const unsigned char scales[] = {127, 128};
	unsigned char codes[2][16] = {{0x21, 0x43}, {0x65, 0x87}};
	const struct fp4_tensor t = {.rows = 2,
	    .columns = 32,
	    .group = 32,
	    .code_dtype = DTYPE_F4,
	    .scale_dtype = DTYPE_F8_E8M0,
	    .codes = codes[0],
	    .scales = scales};
	float out[4];

	kernels.fp4.transposed[DTYPE_F32](out, &t, &(struct kernel_rect){1, 2, 0, 2});
	CHECK(out[0] == 1 && out[1] == 8 && out[2] == 1.5f && out[3] == 12);
}

int main(void)
{
	kernels_init(&kernels, CPU_C);
	check_codes();
	check_exponents();
	check_globals();
	check_six();
	check_transposed();
	return test_done();
}
