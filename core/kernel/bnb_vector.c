/* SPDX-License-Identifier: MIT */

/* Vectors of 16 bytes: SSSE3 and NEON. Outputs of 16 bits are looked up as bytes, the low and the high ones. */

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__x86_64__) && !defined(__SSSE3__)
#error "compile with -mssse3"
#endif

#include "kernel/vector.h"

/* The bytes of 16 outputs, the lowest first: 2 of each, or 4. */
struct bnb_outputs {
	bytes16 byte[4];
};

#include "kernel/bnb_runs.h"

/* Byte i of each of 16 words, which are in four vectors. */
ALWAYS_INLINE bytes16 gather_byte(const words4 word[4], unsigned i)
{
	bytes16 part[4];

	for (unsigned k = 0; k < 4; k++)
		part[k] = (bytes16)(word[k] >> 8 * i & 0xff);
	for (unsigned k = 0; k < 4; k += 2)
		part[k] = __builtin_shufflevector(part[k], part[k + 1], 0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16,
		    20, 24, 28);
	return (bytes16)zip_low64((words4)part[0], (words4)part[2]);
}

ALWAYS_INLINE struct bnb_outputs outputs_of(const float *table, float absmax, enum dtype out, enum floats_kind kind)
{
	struct bnb_outputs outputs;
	words4 value[4];

	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		floats4 four;

		memcpy(&four, table + i * 4, sizeof(four));
		four *= absmax;
		value[i] = round_floats4(four, out, kind);
	}
	UNROLL
	for (unsigned i = 0; i < 4; i++)
		if (i < out_bytes(out))
			outputs.byte[i] = gather_byte(value, i);
	return outputs;
}

/* The least numbers of the tables but 0 are 2^-4 and 2^-8 at least: with usual scales nothing is subnormal in fp16. */
ALWAYS_INLINE struct bnb_outputs bnb4_outputs(const float *table, float absmax, enum dtype out)
{
	const float least = table == bnb_fp4 ? 0x1p-6f : 0x1p-10f;

	if (absmax >= least && absmax < 0x1p15f)
		return outputs_of(table, absmax, out, FLOATS_PLAIN);
	return outputs_of(table, absmax, out, FLOATS_ANY);
}

/* The outputs of 16 codes, one in each byte. */
ALWAYS_INLINE void bnb4_look_up16(char *dst, bytes16 index, const struct bnb_outputs *outputs, enum dtype out)
{
	const bytes16 first = look_up(outputs->byte[0], index), second = look_up(outputs->byte[1], index);
	const bytes16 low[2] = {zip_low8(first, second), zip_high8(first, second)};

	if (out != DTYPE_F32) {
		memcpy(dst, low, sizeof(low));
		return;
	}
	const bytes16 third = look_up(outputs->byte[2], index), fourth = look_up(outputs->byte[3], index);
	const bytes16 high[2] = {zip_low8(third, fourth), zip_high8(third, fourth)};

	UNROLL
	for (unsigned i = 0; i < 2; i++) {
		const bytes16 four[2] = {(bytes16)zip_low16((halves8)low[i], (halves8)high[i]),
		    (bytes16)zip_high16((halves8)low[i], (halves8)high[i])};

		memcpy(dst + i * sizeof(four), four, sizeof(four));
	}
}

/* 32 codes of 16 bytes, the high nibble of each first. */
ALWAYS_INLINE void bnb4_look_up32(char *dst, const unsigned char *codes, const struct bnb_outputs *outputs,
    enum dtype out)
{
	bytes16 both, high, low;

	memcpy(&both, codes, sizeof(both));
	high = (bytes16)((words4)both >> 4 & 0x0f0f0f0f);
	low = both & 15;
	bnb4_look_up16(dst, zip_low8(high, low), outputs, out);
	bnb4_look_up16(dst + 16 * out_bytes(out), zip_high8(high, low), outputs, out);
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

ALWAYS_INLINE void bnb8_decode16(char *dst, const unsigned char *codes, float scale, enum dtype out,
    enum floats_kind kind)
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
		    bnb8_values(zip_high16((halves8)none, half[i]), scale), out, kind);
}

ALWAYS_INLINE void bnb8_decode_all(char *dst, const unsigned char *codes, size_t n, float scale, enum dtype out,
    enum floats_kind kind)
{
	const size_t size = out_bytes(out);
	unsigned char last[16] = {0};
	char buffer[64];
	size_t i = 0;

	for (; i + 16 <= n; i += 16)
		bnb8_decode16(dst + i * size, codes + i, scale, out, kind);
	if (i == n)
		return;
	memcpy(last, codes + i, n - i);
	bnb8_decode16(buffer, last, scale, out, kind);
	memcpy(dst + i * size, buffer, (n - i) * size);
}

/* Codes are at most 128, and 1/127 of the scales between is neither subnormal nor inf in fp16. */
ALWAYS_INLINE void bnb8_decode(char *dst, const unsigned char *codes, size_t n, float scale, enum dtype out)
{
	const uint32_t magnitude = bits_of_float(scale) & 0x7fffffff;

	if (magnitude >= 0x3c800000 && magnitude < 0x47000000) /* 2^-6 and 2^15 */
		bnb8_decode_all(dst, codes, n, scale, out, FLOATS_PLAIN);
	else
		bnb8_decode_all(dst, codes, n, scale, out, FLOATS_ANY);
}

void bnb_init_vector(struct bnb_dsp *dsp)
{
	bnb_install(dsp);
}

#endif
