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

/* The low and the high bytes of the outputs of codes 0 to 15, or what they are computed from. */
struct affine_group_table {
	bytes16 low, high;
	floats4 scale, offset;
	bool plain; /* outputs of type F16 are normal numbers, or 0 */
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

/* True if every integer of a code less its zero, times a scale, is either 0 or a normal number in fp16. */
ALWAYS_INLINE bool affine_is_plain(float scale)
{
	return fabsf(scale) >= 0x1p-14f && fabsf(scale) < 0x1p7f;
}

/* fp16's normal numbers, and 0, of eight floats. */
ALWAYS_INLINE halves8 affine_narrow_plain(words4 low, words4 high)
{
#if defined(__aarch64__)
	return narrow_pair(narrow_half(low, true), narrow_half(high, true));
#else
	const __m128i sign = _mm_packs_epi32(_mm_srai_epi32((__m128i)low, 16), _mm_srai_epi32((__m128i)high, 16));
	words4 half[2] = {low & 0x7fffffff, high & 0x7fffffff};

	for (unsigned i = 0; i < 2; i++) {
		/* Half of the smallest becomes 0, as 0 does. */
		half[i] = (words4)_mm_max_ps((__m128)half[i], _mm_set1_ps(0x1p-15f));
		half[i] = (half[i] + (half[i] >> 13 & 1) + 0xfff - (112 << 23)) >> 13;
	}
	return ((halves8)sign & 0x8000) | (halves8)_mm_packs_epi32((__m128i)half[0], (__m128i)half[1]);
#endif
}

/* 8 outputs; none is a NaN that is not canonical, and with `finite` none at all. */
ALWAYS_INLINE void affine_store8(char *dst, words4 low, words4 high, enum dtype out, bool finite)
{
	const halves8 pair = narrow_pair(round16(low, out, finite), round16(high, out, finite));

	if (out == DTYPE_F32) {
		memcpy(dst, &low, sizeof(low));
		memcpy(dst + 16, &high, sizeof(high));
	} else {
		memcpy(dst, &pair, sizeof(pair));
	}
}

/* Four codes, which become floats by the bits before them: those add 2^23. */
ALWAYS_INLINE words4 affine_compute4(halves8 wide, const struct affine_group_table *t, bool biases)
{
	const floats4 code = (floats4)wide - 0x1p23f;

	return (words4)(biases ? code * t->scale + t->offset : (code - t->offset) * t->scale);
}

ALWAYS_INLINE void affine_compute8(char *dst, halves8 code, const struct affine_group_table *t, struct affine_variant v)
{
	const halves8 before = (halves8){0} + 0x4b00;
	const words4 low = affine_compute4(zip_low16(code, before), t, v.biases);
	const words4 high = affine_compute4(zip_high16(code, before), t, v.biases);

	if (v.out == DTYPE_F16 && t->plain) {
		const halves8 plain = affine_narrow_plain(low, high);

		memcpy(dst, &plain, sizeof(plain));
	} else {
		affine_store8(dst, low, high, v.out, true);
	}
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
	static const uint16_t codes[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
	halves8 code[2], entry[2];

	(void)s;
	t->scale = (floats4){scale, scale, scale, scale}; /* 0 plus it would lose the sign of a zero */
	t->offset = (floats4){offset, offset, offset, offset};
	t->plain = v.out == DTYPE_F16 && !v.biases && affine_is_plain(scale);
	if (v.kind != AFFINE_TABLE)
		return;
	memcpy(code, codes, sizeof(code));
	affine_compute8((char *)&entry[0], code[0], t, v);
	affine_compute8((char *)&entry[1], code[1], t, v);
	t->low = affine_narrow(entry[0], entry[1]);
	t->high = affine_narrow(entry[0] >> 8, entry[1] >> 8);
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
		const bytes16 index = affine_narrow(code[0], code[1]);
		const bytes16 low = look_up(t->low, index), high = look_up(t->high, index);
		const bytes16 first = zip_low8(low, high), second = zip_high8(low, high);

		memcpy(dst, &first, sizeof(first));
		memcpy(dst + half, &second, sizeof(second));
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
		affine_store8(dst + i * (out == DTYPE_F32 ? 4 : 2), canonical_nan(low), canonical_nan(high), out,
		    false);
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
