/* SPDX-License-Identifier: MIT */

/* Vectors of 16 bytes: SSSE3 and NEON. Outputs of 16 bits are looked up as bytes, the low and the high ones. */

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__x86_64__) && !defined(__SSSE3__)
#error "compile with -mssse3"
#endif

#include <math.h>

#include "kernel/simd/vector.h"

struct bnb_outputs {
	struct byte_tables bytes;
};

#include "kernel/bnb/bnb_runs.h"

ALWAYS_INLINE struct bnb_outputs bnb4_outputs(const float *table, float absmax, enum dtype out)
{
	floats4 value[4];

	memcpy(value, table, sizeof(value));
	UNROLL
	for (unsigned i = 0; i < 4; i++)
		value[i] *= absmax;
	return (struct bnb_outputs){byte_tables_of(value, out, false)};
}

/* 32 codes of 16 bytes, the high nibble of each first. */
ALWAYS_INLINE void bnb4_look_up32(char *dst, const unsigned char *codes, const struct bnb_outputs *outputs,
    enum dtype out)
{
	bytes16 both, high, low;

	memcpy(&both, codes, sizeof(both));
	high = (bytes16)((words4)both >> 4 & 0x0f0f0f0f);
	low = both & 15;
	byte_tables_expand(dst, zip_low8(high, low), &outputs->bytes, out);
	byte_tables_expand(dst + 16 * out_bytes(out), zip_high8(high, low), &outputs->bytes, out);
}

ALWAYS_INLINE void bnb4_look_up(char *dst, const unsigned char *codes, size_t n, const struct bnb_outputs *outputs,
    enum dtype out)
{
	const size_t size = out_bytes(out);
	unsigned char last[16] = {0};
	char buffer[128];
	size_t i = 0;

	for (; i + 32 <= n; i += 32)
		bnb4_look_up32(dst + i * size, codes + i / 2, outputs, out);
	if (i == n)
		return;
	memcpy(last, codes + i / 2, (n - i + 1) / 2);
	bnb4_look_up32(buffer, last, outputs, out);
	memcpy(dst + i * size, buffer, (n - i) * size);
}

/* The code is the highest byte of each word; both steps, each rounded. */
ALWAYS_INLINE floats4 bnb8_values(halves8 codes, float scale)
{
	return __builtin_convertvector((ints4)codes >> 24, floats4) * scale * bnb8_step;
}

ALWAYS_INLINE void bnb8_decode16(char *dst, const unsigned char *codes, float scale, enum dtype out, bool numbers)
{
	const bytes16 none = {0};
	halves8 half[2];
	bytes16 of;

	memcpy(&of, codes, sizeof(of));
	half[0] = (halves8)zip_low8(none, of);
	half[1] = (halves8)zip_high8(none, of);
	UNROLL
	for (unsigned i = 0; i < 2; i++)
		store_floats8(dst + i * 8 * out_bytes(out), bnb8_values(zip_low16((halves8)none, half[i]), scale),
		    bnb8_values(zip_high16((halves8)none, half[i]), scale), out, numbers);
}

ALWAYS_INLINE void bnb8_decode_all(char *dst, const unsigned char *codes, size_t n, float scale, enum dtype out,
    bool numbers)
{
	const size_t size = out_bytes(out);
	unsigned char last[16] = {0};
	char buffer[64];
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		bnb8_decode16(dst + i * size, codes + i, scale, out, numbers);
	if (i == n)
		return;
	memcpy(last, codes + i, n - i);
	bnb8_decode16(buffer, last, scale, out, numbers);
	memcpy(dst + i * size, buffer, (n - i) * size);
}

ALWAYS_INLINE void bnb8_decode(char *dst, const unsigned char *codes, size_t n, float scale, enum dtype out)
{
	if (isfinite(scale))
		bnb8_decode_all(dst, codes, n, scale, out, true);
	else
		bnb8_decode_all(dst, codes, n, scale, out, false);
}

void bnb_init_vector(struct bnb_dsp *dsp)
{
	bnb_install(dsp);
}

#endif
