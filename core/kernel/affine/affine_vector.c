/* SPDX-License-Identifier: MIT */

/*
 * 16-byte vectors as a compiler extension, for SSSE3 and NEON: 8 codes of 16 bits, or 16 as bytes, which look up the
 * low and the high bytes of their outputs.
 */

#if defined(__x86_64__) || defined(__aarch64__)

#if defined(__x86_64__) && !defined(__SSSE3__)
#error "compile with -mssse3"
#endif

#define LANES 4

#include "kernel/simd/vector.h"

/*
 * Of each half of a block: where its bytes are, and how its fields, 8 and 8, become 16 bits each. Shifts to the left by
 * different numbers are multiplications; then all are shifted to the right by as much.
 */
struct affine_spread {
	bytes16 pick[2][2];
	halves8 times[2][2];
	int down;
	size_t at[2];
	bytes16 flip;
};

/* The outputs of codes 0 to 15, or what they are computed from. */
struct affine_group_table {
	struct byte_tables bytes;
	floats4 scale, offset;
};

#include "kernel/affine/affine_rows.h"

static void affine_spread_init(struct affine_spread *s, const uint16_t begin[AFFINE_BLOCK], unsigned bits, bool flip)
{
	s->flip = (bytes16){0} + (uint8_t)(flip ? 0x80 : 0);
	if (bits == 8)
		return;
	for (unsigned i = 0; i < AFFINE_BLOCK; i++) {
		const unsigned half = i / 16, eight = i / 8 % 2, bit = begin[i];
		const uint8_t byte = (uint8_t)(bit / 8 - begin[half * 16] / 8);

		s->pick[half][eight][i % 8 * 2] = byte;
		s->pick[half][eight][i % 8 * 2 + 1] = (uint8_t)(byte + 1);
		s->times[half][eight][i % 8] = (uint16_t)(1u << (16 - bits - bit % 8));
	}
	s->down = (int)(16 - bits);
	s->at[0] = begin[0] / 8;
	s->at[1] = begin[16] / 8;
}

ALWAYS_INLINE bytes16 affine_load16(const unsigned char *src)
{
	bytes16 bytes;

	memcpy(&bytes, src, sizeof(bytes));
	return bytes;
}

/* The 16 fields of half a block. */
ALWAYS_INLINE void affine_fields(halves8 code[2], const unsigned char *src, const struct affine_spread *s,
    unsigned half)
{
	const bytes16 bytes = affine_load16(src + s->at[half]);

	for (unsigned i = 0; i < 2; i++)
		code[i] = ((halves8)look_up(bytes, s->pick[half][i]) * s->times[half][i]) >> s->down;
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

/* Four codes, which become floats by the bits put before them, which add 2^23. */
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
	t->scale = (floats4){scale, scale, scale, scale}; /* 0 + scale would lose the sign of a zero */
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

ALWAYS_INLINE void affine_decode_block(char *dst, const unsigned char *src, const struct affine_spread *s,
    const struct affine_group_table *t, struct affine_variant v)
{
	const size_t eight = 8 * out_bytes(v.out);

	UNROLL
	for (unsigned half = 0; half < 2; half++, dst += 2 * eight) {
		halves8 code[2];

		if (v.kind == AFFINE_OCTETS)
			affine_octets(code, src + (size_t)half * 16, s);
		else
			affine_fields(code, src, s, half);
		if (v.kind == AFFINE_TABLE) {
			byte_tables_expand(dst, affine_narrow(code[0], code[1]), &t->bytes, v.out);
			continue;
		}
		affine_compute8(dst, code[0], t, v);
		affine_compute8(dst + eight, code[1], t, v);
	}
}

ALWAYS_INLINE void affine_spread_bytes(uint8_t *dst, const unsigned char *src, const struct affine_spread *s)
{
	for (unsigned half = 0; half < 2; half++) {
		halves8 code[2];
		bytes16 bytes;

		affine_fields(code, src, s, half);
		bytes = affine_narrow(code[0], code[1]);
		memcpy(dst + (size_t)half * 16, &bytes, sizeof(bytes));
	}
}

ALWAYS_INLINE affine_floats affine_widen(const unsigned char *src)
{
	affine_halves half;

	memcpy(&half, src, sizeof(half));
	return (affine_floats)widen_half((words4) __builtin_convertvector(half, affine_words));
}

ALWAYS_INLINE void affine_gather(affine_floats to[AFFINE_STRIP], const float (*table)[AFFINE_STRIP],
    const uint32_t *index)
{
	words4 column[4], row[4];

	for (unsigned i = 0; i < 4; i++)
		memcpy(&column[i], table[index[i]], sizeof(column[i]));
	transpose4(row, column[0], column[1], column[2], column[3]);
	memcpy(to, row, sizeof(row));
}

void affine_init_vector(struct affine_dsp *dsp)
{
	affine_install(dsp);
}

#endif
