/* SPDX-License-Identifier: MIT */

/* Vectors of 16 bytes: SSSE3 and NEON. E4M3 codes become bf16, in which they are exact; then floats. */

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__x86_64__) && !defined(__SSSE3__)
#error "compile with -mssse3"
#endif

#include <math.h>

#include "kernel/simd/vector.h"

#define FP8_LANES 4

#include "kernel/fp8/fp8_blocks.h"

/* 16 codes, or their values. */
struct floats16 {
	floats4 of[4];
};

/* 8 bf16 as floats. */
ALWAYS_INLINE void widen_bf16(floats4 to[2], halves8 half)
{
	const halves8 none = {0};

	to[0] = (floats4)zip_low16(none, half);
	to[1] = (floats4)zip_high16(none, half);
}

/*
 * How 8-bit floats become bf16: moved up by `shift`, with `exponent` added. The 8 codes from 0 on are subnormals or
 * near them, and off by what a table has. From `special` on there are inf and NaN.
 */
struct fp8_form {
	unsigned shift, exponent;
	bytes16 off_low, off_high;
	uint8_t special;
	uint16_t special_bits;
};

/* Subnormals are 2^-9 times 1 to 7: bits 1 and 0 of an exponent of 118 for 1, and so on. */
ALWAYS_INLINE struct fp8_form form_of_e4m3(unsigned exponent)
{
	return (struct fp8_form){
	    .shift = 4,
	    .exponent = exponent,
	    .off_low = {0, 0xf0, 0x60, 0x90, 0xc0, 0xd0, 0xe0, 0xf0},
	    .off_high = {(uint8_t) - (exponent >> 1), 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
	    .special = 0x7f,
	    .special_bits = 0x7fc0,
	};
}

/* Subnormals are 2^-16 times 1 to 3. */
ALWAYS_INLINE struct fp8_form form_of_e5m2(void)
{
	return (struct fp8_form){
	    .shift = 5,
	    .exponent = 112,
	    .off_low = {0, 0x60, 0xc0, 0xe0},
	    .off_high = {0xc8, 0xff, 0xff, 0xff},
	    .special = 0x7c,
	    .special_bits = 0x7f80,
	};
}

/* Exact values, or their magnitudes if `sign` is NULL; `specials` if there may be inf or NaN among the codes. */
ALWAYS_INLINE struct floats16 fp8_values(bytes16 magnitude, const bytes16 *sign, struct fp8_form form, bool specials)
{
	const bytes16 no = {0};
	/* From 8 on with the highest bit, for which SSSE3 and NEON both look up 0. */
	const bytes16 index = magnitude | ((magnitude + 120) & 0x80);
	const bytes16 low = look_up(form.off_low, index), high = look_up(form.off_high, index);
	const bytes16 special = (bytes16)(magnitude >= form.special);
	struct floats16 value;

	UNROLL
	for (unsigned i = 0; i < 2; i++) {
		const halves8 wide = (halves8)(i ? zip_high8(magnitude, no) : zip_low8(magnitude, no));
		const halves8 off = (halves8)(i ? zip_high8(low, high) : zip_low8(low, high));
		halves8 half = (wide << form.shift) + (uint16_t)(form.exponent << 7) + off;

		if (sign)
			half |= (halves8)(i ? zip_high8(no, *sign) : zip_low8(no, *sign));
		if (specials)
			half |=
			    (halves8)(i ? zip_high8(special, special) : zip_low8(special, special)) & form.special_bits;
		widen_bf16(value.of + 2 * i, half);
	}
	return value;
}

ALWAYS_INLINE floats4 fp8_scaled(floats4 value, floats4 scale, bool divide)
{
	return divide ? value / scale : value * scale;
}

/* 16 codes to fp16, of which none is NaN and which share a scale: rounded without their signs, which is less work. */
ALWAYS_INLINE void fp8_to_halves(char *dst, bytes16 codes, float scale, bool divide, struct fp8_form form)
{
	const uint8_t flip = bits_of_float(scale) >> 24 & 0x80;
	const bytes16 no = {0}, sign = (codes & 0x80) ^ flip;
	const struct floats16 value = fp8_values(codes & 0x7f, NULL, form, false);
	const float magnitude = float_of_bits(bits_of_float(scale) & 0x7fffffff);
	const floats4 scales = {magnitude, magnitude, magnitude, magnitude};

	UNROLL
	for (unsigned i = 0; i < 2; i++) {
		const floats4 low = fp8_scaled(value.of[2 * i], scales, divide);
		const floats4 high = fp8_scaled(value.of[2 * i + 1], scales, divide);
		const halves8 half = narrow_pair(narrow_magnitude((words4)low), narrow_magnitude((words4)high)) |
		                     (halves8)(i ? zip_high8(no, sign) : zip_low8(no, sign));

		memcpy(dst + i * sizeof(half), &half, sizeof(half));
	}
}

/* True if none of 16 E5M2 codes, of which these are the magnitudes, becomes NaN by itself or with its scale. */
ALWAYS_INLINE bool fp8_finite(bytes16 magnitude, float scale, bool divide)
{
	return isfinite(scale) && (!divide || scale != 0) && !any_byte((bytes16)(magnitude >= 0x7c));
}

/* 16 codes; plain kernels only those of which none is NaN. */
ALWAYS_INLINE void fp8_decode16(char *dst, bytes16 codes, const float *scales, struct fp8_variant v)
{
	const size_t size = out_bytes(v.out);
	const bytes16 magnitude = codes & 0x7f, sign = codes & 0x80;
	struct floats16 value;

	if (v.plain && !v.each && v.out == DTYPE_F16) {
		fp8_to_halves(dst, codes, *scales, v.divide, form_of_e4m3(112));
		return;
	}
	if (v.code == DTYPE_F8_E5M2 && !v.each && v.out == DTYPE_F16 && fp8_finite(magnitude, *scales, v.divide)) {
		fp8_to_halves(dst, codes, *scales, v.divide, form_of_e5m2());
		return;
	}
	if (v.code == DTYPE_F8_E5M2)
		value = fp8_values(magnitude, &sign, form_of_e5m2(), true);
	else
		value = fp8_values(magnitude, &sign, form_of_e4m3(v.plain ? 112 : 120), !v.plain);
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		floats4 scale = {*scales, *scales, *scales, *scales};

		if (v.each)
			memcpy(&scale, scales + i * 4, sizeof(scale));
		value.of[i] = fp8_scaled(value.of[i], scale, v.divide);
	}
	store_floats8(dst, value.of[0], value.of[1], v.out, v.plain);
	store_floats8(dst + 8 * size, value.of[2], value.of[3], v.out, v.plain);
}

/* Up to 16 codes of any kind; both pointers may end with them. */
static __attribute__((noinline)) void fp8_decode_some(char *dst, const unsigned char *src, size_t n,
    const float *scales, struct fp8_variant v)
{
	const float unfold = !v.plain ? 1 : v.divide ? FP8_FOLDED : 1 / FP8_FOLDED;
	float scale[16] = {0};
	bytes16 codes = {0};
	char out[64];

	memcpy(&codes, src, n);
	for (size_t i = 0; i < n; i++)
		scale[i] = (v.each ? scales[i] : *scales) * unfold;
	v.each = true;
	v.plain = false;
	fp8_decode16(out, codes, scale, v);
	memcpy(dst, out, n * out_bytes(v.out));
}

ALWAYS_INLINE void fp8_decode(char *dst, const unsigned char *codes, size_t n, const float *scales,
    struct fp8_variant v)
{
	const size_t size = out_bytes(v.out);
	size_t i = 0;

	for (; i + 16 <= n; i += 16) {
		const float *scale = v.each ? scales + i : scales;
		bytes16 some;

		prefetch_ahead(codes + i);
		memcpy(&some, codes + i, sizeof(some));
		if (v.plain && __builtin_expect(any_byte((bytes16)((some & 0x7f) == 0x7f)), 0))
			fp8_decode_some(dst + i * size, codes + i, 16, scale, v);
		else
			fp8_decode16(dst + i * size, some, scale, v);
	}
	if (i < n)
		fp8_decode_some(dst + i * size, codes + i, n - i, v.each ? scales + i : scales, v);
}

void fp8_init_vector(struct fp8_dsp *dsp)
{
	fp8_install(dsp);
}

void fp8_cast_init_vector(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS])
{
	fp8_cast_install(cast);
}

#endif
