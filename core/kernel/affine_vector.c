/* SPDX-License-Identifier: MIT */

/*
 * Vectors of 16 bytes in the compilers' own notation, for SSSE3 and NEON: 8 codes of 16 bits, or 16 as bytes, which
 * look up the low and the high bytes of their outputs.
 */

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__x86_64__) && !defined(__SSSE3__)
#error "compile with -mssse3"
#endif

#define LANES 4

#include "kernel/vector.h"

/* Shifts to the left by different numbers are multiplications; then all are shifted to the right by as much. */
struct affine_spread {
	bytes16 pick[2]; /* of 16 bytes the first 8 fields, and those after them */
	halves8 times;
	int down;
	size_t half; /* bytes of 16 codes */
	bytes16 flip;
};

/* The outputs of codes 0 to 15, or what they are computed from. */
struct affine_group_table {
	struct byte_tables bytes;
	floats4 scale, offset;
};

#include "kernel/affine_rows.h"

static void affine_spread_init(struct affine_spread *s, unsigned bits, bool flip)
{
	s->flip = (bytes16){0} + (uint8_t)(flip ? 0x80 : 0);
	if (bits == 8)
		return;
	memcpy(&s->pick[0], affine_pick[bits], sizeof(s->pick[0]));
	s->pick[1] = s->pick[0] + (uint8_t)bits;
	for (unsigned i = 0; i < 8; i++)
		s->times[i] = (uint16_t)(1u << (16 - bits - affine_shift[bits][i]));
	s->down = (int)(16 - bits);
	s->half = bits * 2;
}

ALWAYS_INLINE bytes16 affine_load16(const unsigned char *src)
{
	bytes16 bytes;

	memcpy(&bytes, src, sizeof(bytes));
	return bytes;
}

/* 16 fields, of 16 bytes. */
ALWAYS_INLINE void affine_fields(halves8 code[2], const unsigned char *src, const struct affine_spread *s)
{
	const bytes16 bytes = affine_load16(src);

	for (unsigned i = 0; i < 2; i++)
		code[i] = ((halves8)look_up(bytes, s->pick[i]) * s->times) >> s->down;
}

ALWAYS_INLINE void affine_octets(halves8 code[2], const unsigned char *src, const struct affine_spread *s)
{
	const bytes16 bytes = affine_load16(src) ^ s->flip, none = {0};

	code[0] = (halves8)zip_low8(bytes, none);
	code[1] = (halves8)zip_high8(bytes, none);
}

ALWAYS_INLINE bool affine_looks_up(unsigned bits)
{
	return bits <= 4;
}

/* Four codes, which become floats by the bits before them: those add 2^23. */
ALWAYS_INLINE floats4 affine_compute4(halves8 wide, const struct affine_group_table *t, bool biases)
{
	const floats4 code = (floats4)wide - 0x1p23f;

	return biases ? code * t->scale + t->offset : (code - t->offset) * t->scale;
}

ALWAYS_INLINE void affine_compute8(char *dst, halves8 code, const struct affine_group_table *t, struct affine_variant v)
{
	const halves8 before = (halves8){0} + 0x4b00;

	store_floats8(dst, affine_compute4(zip_low16(code, before), t, v.biases),
	    affine_compute4(zip_high16(code, before), t, v.biases), v.out, true);
}

/* The lower bytes of 16 elements. */
ALWAYS_INLINE bytes16 affine_narrow(halves8 a, halves8 b)
{
	return __builtin_shufflevector((bytes16)a, (bytes16)b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28,
	    30);
}

ALWAYS_INLINE void affine_table_build(struct affine_group_table *t, float scale, float offset,
    const struct affine_spread *s, struct affine_variant v)
{
	floats4 value[4];

	(void)s;
	t->scale = (floats4){scale, scale, scale, scale}; /* 0 plus it would lose the sign of a zero */
	t->offset = (floats4){offset, offset, offset, offset};
	if (v.kind != AFFINE_TABLE)
		return;
	UNROLL
	for (unsigned i = 0; i < 4; i++) {
		const floats4 code = (floats4){0, 1, 2, 3} + (float)(4 * i);

		value[i] = v.biases ? code * t->scale + t->offset : (code - t->offset) * t->scale;
	}
	t->bytes = byte_tables_of(value, v.out, true);
}

ALWAYS_INLINE void affine_decode16(char *dst, const unsigned char *src, const struct affine_spread *s,
    const struct affine_group_table *t, struct affine_variant v)
{
	const size_t half = v.out == DTYPE_F32 ? 32 : 16;
	halves8 code[2];

	if (v.kind == AFFINE_OCTETS)
		affine_octets(code, src, s);
	else
		affine_fields(code, src, s);
	if (v.kind == AFFINE_TABLE) {
		byte_tables_expand(dst, affine_narrow(code[0], code[1]), &t->bytes, v.out);
		return;
	}
	affine_compute8(dst, code[0], t, v);
	affine_compute8(dst + half, code[1], t, v);
}

ALWAYS_INLINE void affine_decode_block(char *dst, const unsigned char *src, const struct affine_spread *s,
    const struct affine_group_table *t, struct affine_variant v)
{
	affine_decode16(dst, src, s, t, v);
	affine_decode16(dst + (v.out == DTYPE_F32 ? 64 : 32), src + (v.kind == AFFINE_OCTETS ? 16 : s->half), s, t, v);
}

ALWAYS_INLINE affine_floats affine_widen(const unsigned char *src)
{
	affine_halves half;

	memcpy(&half, src, sizeof(half));
	return (affine_floats)widen_half((words4) __builtin_convertvector(half, affine_words));
}

ALWAYS_INLINE void affine_round_block(char *dst, const float *value, enum dtype out)
{
	for (unsigned i = 0; i < AFFINE_BLOCK; i += 8) {
		floats4 low, high;

		memcpy(&low, value + i, sizeof(low));
		memcpy(&high, value + i + 4, sizeof(high));
		store_floats8(dst + i * out_bytes(out), low, high, out, false);
	}
}

ALWAYS_INLINE void affine_gather(float *dst, const float *table, uint32_t count, const uint32_t *index, size_t n)
{
	(void)count;
	for (size_t i = 0; i < n; i++)
		dst[i] = table[index[i]];
}

void affine_init_vector(struct affine_dsp *dsp)
{
	affine_install(dsp);
}

#endif
