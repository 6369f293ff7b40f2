/* SPDX-License-Identifier: MIT */

/*
 * The part of an affine kernel that is the same for every instruction set. A file affine_<isa>.c defines LANES,
 * struct affine_spread and struct affine_group_table, includes this, defines the functions declared below, and calls
 * affine_install().
 *
 * Rows of codes and of output are contiguous, so nothing is transposed. Codes are taken 32 at a time, which are 4 bytes
 * for each bit they have: fields are spread to 16 bits each by a byte shuffle and a shift. Up to as many bits as an
 * instruction set can look up, the outputs of all codes of a group are computed once, as a table; others are computed
 * one by one. Scales and offsets of a row are made floats before, all of them together.
 *
 * What hardly any model has goes other ways: groups with a scale that is not finite, one code after the other; groups
 * that are narrow, not in order, or do not begin with a byte, by way of codes, scales and outputs in fp32.
 */

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel/affine.h"
#include "kernel/element.h"
#include "kernel/inline.h"

enum {
	AFFINE_BLOCK = 32,   /* codes that are decoded at a time */
	AFFINE_ROOM = 32,    /* bytes that may be read for them, whatever their width */
	AFFINE_GROUPS = 512, /* whose scales are at hand at a time */
	AFFINE_NARROW = 16,  /* groups of fewer columns are not worth a table */
	AFFINE_BYTES = 1024, /* codes that are unpacked at a time, where they must be */
};

/* What a kernel is made for. */
enum affine_kind {
	AFFINE_TABLE,  /* fields of few bits, to 16-bit outputs */
	AFFINE_FIELDS, /* fields of up to 7 bits */
	AFFINE_OCTETS, /* bytes */
};

struct affine_variant {
	enum dtype out;
	enum affine_kind kind;
	bool biases;
};

typedef uint32_t affine_words __attribute__((vector_size(LANES * 4)));
typedef int32_t affine_ints __attribute__((vector_size(LANES * 4)));
typedef float affine_floats __attribute__((vector_size(LANES * 4)));
typedef uint16_t affine_halves __attribute__((vector_size(LANES * 2)));
typedef int8_t affine_bytes __attribute__((vector_size(LANES)));

/* Of 8 fields of each width in as many bytes: the two bytes that have each, and by how many bits it begins later. */
#define PICK2(bits, i) (i) * (bits) / 8, (i) * (bits) / 8 + 1
#define PICK(bits)                                                                                              \
	{                                                                                                       \
		PICK2(bits, 0), PICK2(bits, 1), PICK2(bits, 2), PICK2(bits, 3), PICK2(bits, 4), PICK2(bits, 5), \
		    PICK2(bits, 6), PICK2(bits, 7)                                                              \
	}
#define SHIFT(bits)                                                                                            \
	{                                                                                                      \
		0, (bits) % 8, 2 * (bits) % 8, 3 * (bits) % 8, 4 * (bits) % 8, 5 * (bits) % 8, 6 * (bits) % 8, \
		    7 * (bits) % 8                                                                             \
	}

static const uint8_t affine_pick[8][16] = {PICK(0), PICK(1), PICK(2), PICK(3), PICK(4), PICK(5), PICK(6), PICK(7)};
static const uint16_t affine_shift[8][8] = {
    SHIFT(0), SHIFT(1), SHIFT(2), SHIFT(3), SHIFT(4), SHIFT(5), SHIFT(6), SHIFT(7)};

/* ---- what an instruction set defines ---- */

/* How codes are spread; constant during a call. */
static void affine_spread_init(struct affine_spread *s, unsigned bits, bool flip);

/* What the codes of a group become: outputs of all of them, or scale and offset. */
ALWAYS_INLINE void affine_table_build(struct affine_group_table *t, float scale, float offset,
    const struct affine_spread *s, struct affine_variant v);

/* Decodes a block. Reads AFFINE_ROOM bytes. */
ALWAYS_INLINE void affine_decode_block(char *dst, const unsigned char *src, const struct affine_spread *s,
    const struct affine_group_table *t, struct affine_variant v);

/* LANES elements of type F16 as floats; and a block of floats to elements of type `out`, NaNs made canonical. */
ALWAYS_INLINE affine_floats affine_widen(const unsigned char *src);
ALWAYS_INLINE void affine_round_block(char *dst, const float *value, enum dtype out);

/* The elements of a table of `count`, in an array of AFFINE_GROUPS, that the indices say. */
ALWAYS_INLINE void affine_gather(float *dst, const float *table, uint32_t count, const uint32_t *index, size_t n);

/* True if the instruction set looks up codes of that many bits. */
ALWAYS_INLINE bool affine_looks_up(unsigned bits);

/* ---- scales and offsets ---- */

/* Some columns of one row, with the scales and offsets of their groups. */
struct affine_part {
	const struct affine_matrix *m;
	const unsigned char *end; /* of what may be read */
	uint32_t row;
	uint32_t column0, columns;
	uint32_t group0;
	float scale[AFFINE_GROUPS], offset[AFFINE_GROUPS];
};

static void affine_load_floats(float *dst, const unsigned char *src, size_t n, enum dtype dtype)
{
	size_t i = 0;

	for (; dtype != DTYPE_F32 && i + LANES <= n; i += LANES) {
		affine_floats value;
		affine_halves half;

		if (dtype == DTYPE_F16) {
			value = affine_widen(src + i * 2);
		} else {
			memcpy(&half, src + i * 2, sizeof(half));
			value = (affine_floats)(__builtin_convertvector(half, affine_words) << 16);
		}
		memcpy(dst + i, &value, sizeof(value));
	}
	if (dtype == DTYPE_F32)
		memcpy(dst, src, n * 4);
	else
		for (; i < n; i++)
			dst[i] = element_load(src, i, dtype);
}

static void affine_load_signed(float *dst, const unsigned char *src, size_t n, int middle)
{
	size_t i = 0;

	for (; i + LANES <= n; i += LANES) {
		affine_bytes byte;
		affine_floats value;

		memcpy(&byte, src + i, sizeof(byte));
		value = __builtin_convertvector(__builtin_convertvector(byte, affine_ints) + middle, affine_floats);
		memcpy(dst + i, &value, sizeof(value));
	}
	for (; i < n; i++)
		dst[i] = (float)((int8_t)src[i] + middle);
}

/* The same field of words that lie next to each other, and, where it straddles, of those a row farther. */
static void affine_load_packed(float *dst, const struct affine_matrix *m, uint32_t row, uint32_t group, size_t n)
{
	const unsigned per_word = 32 / m->bits, mask = (1u << m->bits) - 1;
	const uint64_t bit = m->packing == AFFINE_WORDS ? (uint64_t)(row / per_word) * 32 + row % per_word * m->bits
	                                                : (uint64_t)row * m->bits;
	const unsigned char *low = m->offsets + (bit / 32 * m->groups + group) * 4, *high = low + (size_t)m->groups * 4;
	const unsigned shift = bit % 32;
	const bool straddles = shift + m->bits > 32;
	size_t i = 0;

	for (; i + LANES <= n; i += LANES) {
		affine_words word, next;
		affine_floats value;

		memcpy(&word, low + i * 4, sizeof(word));
		word >>= shift;
		if (straddles) {
			memcpy(&next, high + i * 4, sizeof(next));
			word |= next << (32 - shift);
		}
		value = __builtin_convertvector((affine_ints)(word & mask), affine_floats);
		memcpy(dst + i, &value, sizeof(value));
	}
	for (; i < n; i++)
		dst[i] = (float)affine_zero(m, row, group + (uint32_t)i);
}

/* Those of `count` groups of the part's row. */
static void affine_load_groups(struct affine_part *p, uint32_t count)
{
	const struct affine_matrix *m = p->m;
	const size_t first = affine_scale_index(m, p->row, p->group0), width = dtype_bytes(m->scale_dtype);

	affine_load_floats(p->scale, m->scales + first * width, count, m->scale_dtype);
	switch (m->offset) {
	case AFFINE_BIASES:
		affine_load_floats(p->offset, m->offsets + first * width, count, m->scale_dtype);
		break;
	case AFFINE_ZEROS_SIGNED:
		affine_load_signed(p->offset, m->offsets + first, count, 1 << (m->bits - 1));
		break;
	case AFFINE_ZEROS_PACKED:
		affine_load_packed(p->offset, m, p->row, p->group0, count);
		break;
	default:
		for (uint32_t i = 0; i < count; i++)
			p->offset[i] = (float)(1 << (m->bits - 1));
	}
}

/* The contract, but for the last rounding. */
ALWAYS_INLINE float affine_formula(float code, float scale, float offset, bool biases)
{
	return biases ? code * scale + offset : (code - offset) * scale;
}

/* ---- codes as bytes ---- */

/* Codes [k, k + n) of a row as bytes. */
static void affine_unpack(uint8_t *dst, const struct affine_part *p, uint32_t k, uint32_t n)
{
	const struct affine_matrix *m = p->m;
	const unsigned char *row = m->codes + p->row * m->row_bytes;
	const unsigned bits = m->bits, mask = (1u << bits) - 1;
	uint32_t i = 0;

	for (; m->packing == AFFINE_STREAM && (k * (uint64_t)bits) % 8 == 0 && i + 8 <= n; i += 8) {
		const unsigned char *src = row + (k + i) * (uint64_t)bits / 8;
		uint64_t fields;

		if (p->end - src < 8)
			break;
		memcpy(&fields, src, 8);
		UNROLL
		for (unsigned j = 0; j < 8; j++)
			dst[i + j] = fields >> j * bits & mask;
	}
	for (; i < n; i++)
		dst[i] = (uint8_t)affine_code(m, p->row, k + i);
}

/* As affine_unpack, of whole fields in words. */
static void affine_unpack_words(uint8_t *dst, const struct affine_part *p, uint32_t k, uint32_t n)
{
	const struct affine_matrix *m = p->m;
	const unsigned bits = m->bits, per_word = 32 / bits, mask = (1u << bits) - 1;
	const unsigned char *src = m->codes + p->row * m->row_bytes + (size_t)(k / per_word) * 4;
	uint32_t skip = k % per_word;

	for (uint32_t i = 0; i < n; src += 4, skip = 0) {
		const uint32_t count = per_word - skip < n - i ? per_word - skip : n - i;
		uint32_t word;

		memcpy(&word, src, 4);
		word >>= skip * bits;
		for (uint32_t j = 0; j < count; j++, word >>= bits)
			dst[i++] = word & mask;
	}
}

/* ---- groups ---- */

/* Codes that share a scale, and where they begin: at a whole byte. */
struct affine_run {
	const unsigned char *src;
	const unsigned char *end; /* of what may be read */
	size_t n;
	float scale, offset;
	unsigned bits; /* of a code in src */
	bool flip;     /* codes are signed bytes */
};

/* A run whose scale or offset is not finite. */
static __attribute__((noinline)) void affine_decode_odd(char *dst, const struct affine_run *r, enum dtype out,
    bool biases)
{
	const struct affine_matrix m = {
	    .bits = (uint8_t)r->bits, .packing = r->flip ? AFFINE_SIGNED : AFFINE_STREAM, .codes = r->src};

	for (uint32_t i = 0; i < r->n; i++) {
		const float code = (float)affine_code(&m, 0, i);

		element_store(dst, i, affine_formula(code, r->scale, r->offset, biases), out);
	}
}

/* The last codes of a run, where a block would read or write too far. */
ALWAYS_INLINE void affine_decode_rest(char *dst, const unsigned char *src, size_t n, const struct affine_spread *s,
    const struct affine_group_table *t, unsigned bits, struct affine_variant v)
{
	const size_t size = v.out == DTYPE_F32 ? 4 : 2;
	unsigned char in[AFFINE_ROOM] = {0};
	char out[AFFINE_BLOCK * 4];

	memcpy(in, src, (n * bits + 7) / 8);
	affine_decode_block(out, in, s, t, v);
	memcpy(dst, out, n * size);
}

ALWAYS_INLINE void affine_decode(char *dst, const struct affine_run *r, const struct affine_spread *s,
    struct affine_variant v)
{
	const size_t size = v.out == DTYPE_F32 ? 4 : 2, block = (size_t)r->bits * AFFINE_BLOCK / 8;
	const unsigned char *src = r->src;
	struct affine_group_table t;
	size_t left = r->n;

	if (__builtin_expect(!isfinite(r->scale) || !isfinite(r->offset), 0)) {
		affine_decode_odd(dst, r, v.out, v.biases);
		return;
	}
	affine_table_build(&t, r->scale, r->offset, s, v);
	for (; left >= AFFINE_BLOCK && r->end - src >= AFFINE_ROOM; left -= AFFINE_BLOCK) {
		affine_decode_block(dst, src, s, &t, v);
		dst += AFFINE_BLOCK * size;
		src += block;
	}
	for (size_t n; left; left -= n) {
		n = left < AFFINE_BLOCK ? left : AFFINE_BLOCK;
		affine_decode_rest(dst, src, n, s, &t, r->bits, v);
		dst += n * size;
		src += block;
	}
}

/* ---- codes with a scale each ---- */

/* Of some columns of a row. */
struct affine_each {
	float code[AFFINE_BYTES], scale[AFFINE_BYTES], offset[AFFINE_BYTES];
};

/* Codes [k, k + n) of a part's row as floats. */
ALWAYS_INLINE void affine_each_code(float *code, const struct affine_part *p, uint32_t k, uint32_t n,
    const struct affine_spread *s, enum affine_kind kind)
{
	const struct affine_matrix *m = p->m;
	const uint64_t bit = (uint64_t)k * m->bits;
	const struct affine_run run = {.src = m->codes + p->row * m->row_bytes + bit / 8,
	    .end = p->end,
	    .n = n,
	    .scale = 1,
	    .bits = m->bits,
	    .flip = m->packing == AFFINE_SIGNED};
	uint8_t bytes[AFFINE_BYTES];

	if (bit % 8 == 0 && (m->packing != AFFINE_WORDS || 32 % m->bits == 0)) {
		affine_decode((char *)code, &run, s, (struct affine_variant){DTYPE_F32, kind, false});
		return;
	}
	if (m->packing == AFFINE_WORDS)
		affine_unpack_words(bytes, p, k, n);
	else
		affine_unpack(bytes, p, k, n);
	for (uint32_t i = 0; i < n; i++)
		code[i] = bytes[i];
}

/* Scales and offsets of the same. */
ALWAYS_INLINE void affine_each_group(struct affine_each *each, const struct affine_part *p, uint32_t k, uint32_t n)
{
	const struct affine_matrix *m = p->m;
	const uint32_t width = m->block_columns;

	if (m->g_idx) {
		affine_gather(each->scale, p->scale, m->groups, m->g_idx + k, n);
		affine_gather(each->offset, p->offset, m->groups, m->g_idx + k, n);
		return;
	}
	for (uint32_t i = 0, end; i < n; i = end) {
		const uint32_t g = (k + i) / width - p->group0, left = width - (k + i) % width;

		end = left < n - i ? i + left : n;
		for (uint32_t j = i; j < end; j++) {
			each->scale[j] = p->scale[g];
			each->offset[j] = p->offset[g];
		}
	}
}

/* Puts the values in the place of the codes. */
ALWAYS_INLINE void affine_each_value(struct affine_each *each, uint32_t n, bool biases)
{
	uint32_t i = 0;

	for (; i + LANES <= n; i += LANES) {
		affine_floats code, scale, offset;

		memcpy(&code, each->code + i, sizeof(code));
		memcpy(&scale, each->scale + i, sizeof(scale));
		memcpy(&offset, each->offset + i, sizeof(offset));
		code = biases ? code * scale + offset : (code - offset) * scale;
		memcpy(each->code + i, &code, sizeof(code));
	}
	for (; i < n; i++)
		each->code[i] = affine_formula(each->code[i], each->scale[i], each->offset[i], biases);
}

/* The columns of a part whose groups are narrow or not in order. */
ALWAYS_INLINE void affine_part_each(char *dst, const struct affine_part *p, const struct affine_spread *s,
    struct affine_variant v)
{
	const size_t size = v.out == DTYPE_F32 ? 4 : 2;
	struct affine_each each;
	char rest[AFFINE_BLOCK * 4];

	for (uint32_t done = 0, n; done < p->columns; done += n) {
		n = p->columns - done < AFFINE_BYTES ? p->columns - done : AFFINE_BYTES;
		affine_each_code(each.code, p, p->column0 + done, n, s, v.kind);
		affine_each_group(&each, p, p->column0 + done, n);
		affine_each_value(&each, n, p->m->offset == AFFINE_BIASES);
		for (uint32_t i = 0; i < n; i += AFFINE_BLOCK) {
			const uint32_t count = n - i < AFFINE_BLOCK ? n - i : AFFINE_BLOCK;

			if (count == AFFINE_BLOCK) {
				affine_round_block(dst + (done + i) * size, each.code + i, v.out);
				continue;
			}
			memset(each.code + n, 0, (AFFINE_BLOCK - count) * sizeof(*each.code));
			affine_round_block(rest, each.code + i, v.out);
			memcpy(dst + (done + i) * size, rest, count * size);
		}
	}
}

/* The columns of a part group by group; the codes of the first are at src. */
ALWAYS_INLINE void affine_part_decode(char *dst, const struct affine_part *p, struct affine_run *r,
    const struct affine_spread *s, struct affine_variant v)
{
	const uint32_t width = p->m->block_columns, first = p->column0 / width;
	const size_t size = v.out == DTYPE_F32 ? 4 : 2;
	uint32_t g = first - p->group0, n = width - p->column0 % width;

	for (uint32_t done = 0; done < p->columns; done += n, n = width, g++) {
		n = n < p->columns - done ? n : p->columns - done;
		r->n = n;
		r->scale = p->scale[g];
		r->offset = p->offset[g];
		affine_decode(dst + done * size, r, s, v);
		r->src += (uint64_t)n * r->bits / 8;
	}
}

/* The same for fields in words, which become bytes first. */
ALWAYS_INLINE void affine_part_words(char *dst, struct affine_part *p, const struct affine_spread *s,
    struct affine_variant v)
{
	const uint32_t column0 = p->column0, columns = p->columns;
	unsigned char codes[AFFINE_BYTES + AFFINE_ROOM];
	struct affine_run r = {.end = codes + sizeof(codes), .bits = 8};

	memset(codes + AFFINE_BYTES, 0, AFFINE_ROOM);
	for (uint32_t done = 0; done < columns; done += p->columns) {
		p->column0 = column0 + done;
		p->columns = columns - done < AFFINE_BYTES ? columns - done : AFFINE_BYTES;
		affine_unpack_words(codes, p, p->column0, p->columns);
		r.src = codes;
		affine_part_decode(dst + (size_t)done * (v.out == DTYPE_F32 ? 4 : 2), p, &r, s, v);
	}
	p->column0 = column0;
	p->columns = columns;
}

/* ---- rectangles ---- */

/* How the codes of a matrix are decoded from column0 on. */
enum affine_way {
	AFFINE_GROUPWISE, /* from where they are */
	AFFINE_UNPACKED,  /* from bytes */
	AFFINE_EACH,      /* with a scale for each */
};

static enum affine_way affine_way_of(const struct affine_matrix *m, uint32_t column0)
{
	const unsigned bits = m->bits;

	if (m->g_idx || m->block_columns < AFFINE_NARROW)
		return AFFINE_EACH;
	if (m->packing == AFFINE_WORDS && 32 % bits)
		return AFFINE_UNPACKED;
	if ((uint64_t)column0 * bits % 8 || (m->block_columns < m->columns && (uint64_t)m->block_columns * bits % 8))
		return AFFINE_EACH;
	return AFFINE_GROUPWISE;
}

/* As many columns from p->column0 on, at most `left`, as there is room for scales; loads those. */
static __attribute__((noinline)) void affine_part_begin(struct affine_part *p, uint32_t left)
{
	const struct affine_matrix *m = p->m;
	const uint32_t width = m->block_columns;
	const uint64_t room = (uint64_t)AFFINE_GROUPS * width - p->column0 % width;
	uint32_t count;

	if (m->g_idx) {
		p->columns = left;
		p->group0 = 0;
		count = m->groups;
	} else {
		p->columns = left < room ? left : (uint32_t)room;
		p->group0 = p->column0 / width;
		count = (p->column0 + p->columns - 1) / width - p->group0 + 1;
	}
	affine_load_groups(p, count);
}

ALWAYS_INLINE void affine_rect_rows(char *dst, const struct affine_matrix *m, const struct kernel_rect *r,
    enum affine_way way, struct affine_variant v)
{
	const size_t size = v.out == DTYPE_F32 ? 4 : 2;
	const bool octets = v.kind == AFFINE_OCTETS;
	struct affine_part p = {.m = m, .end = m->codes + (size_t)(r->row0 + r->rows) * m->row_bytes};
	struct affine_run run = {.end = p.end, .bits = octets ? 8 : m->bits, .flip = m->packing == AFFINE_SIGNED};
	struct affine_spread s;

	affine_spread_init(&s, run.bits, run.flip);
	for (p.row = r->row0; p.row < r->row0 + r->rows; p.row++) {
		for (uint32_t done = 0; done < r->columns; done += p.columns) {
			p.column0 = r->column0 + done;
			affine_part_begin(&p, r->columns - done);
			run.src = m->codes + p.row * m->row_bytes + (uint64_t)p.column0 * run.bits / 8;
			if (way == AFFINE_EACH)
				affine_part_each(dst, &p, &s, v);
			else if (way == AFFINE_UNPACKED)
				affine_part_words(dst, &p, &s, v);
			else
				affine_part_decode(dst, &p, &run, &s, v);
			dst += p.columns * size;
		}
	}
}

ALWAYS_INLINE void affine_rect_kind(char *dst, const struct affine_matrix *m, const struct kernel_rect *r,
    enum affine_way way, struct affine_variant v)
{
	if (m->offset == AFFINE_BIASES)
		affine_rect_rows(dst, m, r, way, (struct affine_variant){v.out, v.kind, true});
	else
		affine_rect_rows(dst, m, r, way, (struct affine_variant){v.out, v.kind, false});
}

ALWAYS_INLINE void affine_rect_decode(void *dst, const struct affine_matrix *m, const struct kernel_rect *r,
    enum dtype out)
{
	const enum affine_way way = affine_way_of(m, r->column0);

	if (m->g_idx && m->groups > AFFINE_GROUPS)
		affine_reference[out](dst, m, r);
	else if (way == AFFINE_EACH && m->bits == 8)
		affine_rect_rows(dst, m, r, way, (struct affine_variant){.out = out, .kind = AFFINE_OCTETS});
	else if (way == AFFINE_EACH)
		affine_rect_rows(dst, m, r, way, (struct affine_variant){.out = out, .kind = AFFINE_FIELDS});
	else if (way == AFFINE_UNPACKED)
		affine_rect_kind(dst, m, r, AFFINE_UNPACKED,
		    (struct affine_variant){.out = out, .kind = AFFINE_OCTETS});
	else if (m->bits == 8)
		affine_rect_kind(dst, m, r, AFFINE_GROUPWISE,
		    (struct affine_variant){.out = out, .kind = AFFINE_OCTETS});
	else if (out != DTYPE_F32 && affine_looks_up(m->bits))
		affine_rect_kind(dst, m, r, AFFINE_GROUPWISE,
		    (struct affine_variant){.out = out, .kind = AFFINE_TABLE});
	else
		affine_rect_kind(dst, m, r, AFFINE_GROUPWISE,
		    (struct affine_variant){.out = out, .kind = AFFINE_FIELDS});
}

#define DEFINE_AFFINE(out, type)                                                                           \
	static void affine_to_##out(void *dst, const struct affine_matrix *m, const struct kernel_rect *r) \
	{                                                                                                  \
		affine_rect_decode(dst, m, r, type);                                                       \
	}

DEFINE_AFFINE(f16, DTYPE_F16)
DEFINE_AFFINE(bf16, DTYPE_BF16)
DEFINE_AFFINE(f32, DTYPE_F32)

static void affine_install(struct affine_dsp *dsp)
{
	static affine_fn *const rows[DTYPE_VIEWS] = {affine_to_f16, affine_to_bf16, affine_to_f32};

	memcpy(dsp->rows, rows, sizeof(rows));
}
