/* SPDX-License-Identifier: MIT */

/*
 * The part of affine kernels common to all instruction sets. A file affine_<isa>.c defines LANES, struct affine_spread
 * and struct affine_group_table, includes this, defines the functions declared below, and calls affine_install().
 *
 * Rows of codes and of output are contiguous, so nothing is transposed. Codes are decoded in blocks of 32: fields are
 * spread to 16 bits each by a byte shuffle and a shift. In a stream all blocks look the same; where words have whole
 * fields, there is a way to spread them for each field that a block may begin with. For widths that an instruction set
 * can look up, the outputs of all codes of a group are computed once, as a table; others are computed one by one.
 * Scales and offsets of a row are converted to float beforehand, all together.
 *
 * Rarer cases have paths of their own: groups with a scale that is not finite are decoded one code at a time; groups
 * that are narrow, not in order, or do not begin at a byte, with a scale and an offset for each code.
 */

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel/affine/affine.h"
#include "kernel/element.h"
#include "kernel/simd/inline.h"

enum {
	AFFINE_BLOCK = 32,   /* codes decoded at a time */
	AFFINE_ROOM = 32,    /* bytes that may be read for a block, whatever the width */
	AFFINE_PHASES = 10,  /* most fields in a word that has bits to spare */
	AFFINE_GROUPS = 512, /* groups whose scales are kept at a time */
	AFFINE_NARROW = 16,  /* groups of fewer columns are not worth a table */
	AFFINE_EACH = 256,   /* codes decoded at a time with a scale each */
	AFFINE_STRIP = 4,    /* rows whose scales are gathered together */
};

/* The kinds of kernel. */
enum affine_kind {
	AFFINE_TABLE,  /* fields of few bits, to 16-bit outputs */
	AFFINE_FIELDS, /* fields of up to 7 bits */
	AFFINE_OCTETS, /* bytes */
};

struct affine_variant {
	enum dtype out;
	enum affine_kind kind;
	bool biases;
	bool spaced; /* words have bits to spare, and a block may begin with any of their fields */
};

typedef uint32_t affine_words __attribute__((vector_size(LANES * 4)));
typedef int32_t affine_ints __attribute__((vector_size(LANES * 4)));
typedef float affine_floats __attribute__((vector_size(LANES * 4)));
typedef uint16_t affine_halves __attribute__((vector_size(LANES * 2)));
typedef int8_t affine_bytes __attribute__((vector_size(LANES)));

/* ---- what an instruction set defines ---- */

/* Prepares spreading the codes of a block whose fields begin at these bits of its bytes. */
static void affine_spread_init(struct affine_spread *s, const uint16_t begin[AFFINE_BLOCK], unsigned bits, bool flip);

/* Builds what decodes a group: a table of all outputs, or scale and offset. */
ALWAYS_INLINE void affine_table_build(struct affine_group_table *t, float scale, float offset,
    const struct affine_spread *s, struct affine_variant v);

/* Decodes a block. Reads AFFINE_ROOM bytes. */
ALWAYS_INLINE void affine_decode_block(char *dst, const unsigned char *src, const struct affine_spread *s,
    const struct affine_group_table *t, struct affine_variant v);

/* Spreads the fields of a block to a byte each. Reads AFFINE_ROOM bytes. */
ALWAYS_INLINE void affine_spread_bytes(uint8_t *dst, const unsigned char *src, const struct affine_spread *s);

/* Returns LANES elements of type F16 as floats. */
ALWAYS_INLINE affine_floats affine_widen(const unsigned char *src);

/* Gathers the columns of a table given by LANES indices: to[i] is row i of them. */
ALWAYS_INLINE void affine_gather(affine_floats to[AFFINE_STRIP], const float (*table)[AFFINE_STRIP],
    const uint32_t *index);

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

/* The contract, except for the last rounding. */
ALWAYS_INLINE float affine_formula(float code, float scale, float offset, bool biases)
{
	return biases ? code * scale + offset : (code - offset) * scale;
}

/* ---- where codes are ---- */

/* How the rows of a matrix are read; constant during a call. */
struct affine_layout {
	const struct affine_matrix *m;
	unsigned phases;      /* fields of a word if it may have bits to spare, else 1 */
	unsigned block, skip; /* bytes of a block, of whole words if there are phases; and what a phase advances by */
	struct affine_spread spread[AFFINE_PHASES];
};

/* A place in a row: its bytes, and the index of a field in their first word. */
struct affine_place {
	const unsigned char *src;
	unsigned phase;
};

static bool affine_is_spaced(const struct affine_matrix *m)
{
	return m->packing == AFFINE_WORDS && 32 % m->bits;
}

static __attribute__((noinline)) void affine_layout_init(struct affine_layout *l, const struct affine_matrix *m)
{
	const unsigned bits = m->bits, phases = affine_is_spaced(m) ? 32 / bits : 1;

	l->m = m;
	l->phases = phases;
	l->block = phases > 1 ? AFFINE_BLOCK / phases * 4 : AFFINE_BLOCK * bits / 8;
	l->skip = AFFINE_BLOCK % phases;
	for (unsigned phase = 0; phase < phases; phase++) {
		uint16_t begin[AFFINE_BLOCK];

		for (unsigned i = 0; i < AFFINE_BLOCK; i++) {
			const unsigned field = phase + i;

			begin[i] = (uint16_t)(phases > 1 ? field / phases * 32 + field % phases * bits : i * bits);
		}
		affine_spread_init(&l->spread[phase], begin, bits, m->packing == AFFINE_SIGNED);
	}
}

/* True if blocks can be read from column k on: a field begins at a byte, and a block ends within AFFINE_ROOM. */
static bool affine_is_readable(const struct affine_matrix *m, uint64_t k)
{
	if (affine_is_spaced(m))
		return m->bits != 7 || k % 4 == 0;
	return k * m->bits % 8 == 0;
}

/* Here and in affine_advance, `spaced` tells whether the layout has phases; a constant where that saves time. */
ALWAYS_INLINE struct affine_place affine_seek(const struct affine_layout *l, uint32_t row, uint32_t k, bool spaced)
{
	const unsigned char *src = l->m->codes + row * l->m->row_bytes;

	if (spaced)
		return (struct affine_place){src + (size_t)(k / l->phases) * 4, k % l->phases};
	return (struct affine_place){src + (uint64_t)k * l->m->bits / 8, 0};
}

ALWAYS_INLINE void affine_advance(struct affine_place *at, const struct affine_layout *l, bool spaced)
{
	at->src += l->block;
	if (!spaced)
		return;
	at->phase += l->skip;
	if (at->phase >= l->phases) {
		at->phase -= l->phases;
		at->src += 4;
	}
}

/* Returns the bytes that n codes take, at most AFFINE_BLOCK. */
static size_t affine_bytes_of(const struct affine_layout *l, unsigned phase, size_t n)
{
	return l->phases > 1 ? ((phase + n - 1) / l->phases + 1) * 4 : (n * l->m->bits + 7) / 8;
}

/* Writes codes [k, k + n) of a row as bytes. */
static void affine_unpack(uint8_t *dst, const struct affine_layout *l, const struct affine_part *p, uint32_t k,
    uint32_t n)
{
	const bool spaced = l->phases > 1;
	struct affine_place at = affine_seek(l, p->row, k, spaced);
	uint32_t i = 0;

	if (l->m->bits == 8) {
		const uint8_t flip = l->m->packing == AFFINE_SIGNED ? 0x80 : 0;

		for (; i + LANES <= n; i += LANES) {
			affine_bytes byte;

			memcpy(&byte, at.src + i, sizeof(byte));
			byte ^= (int8_t)flip;
			memcpy(dst + i, &byte, sizeof(byte));
		}
	} else if (affine_is_readable(l->m, k)) {
		for (; i + AFFINE_BLOCK <= n && p->end - at.src >= AFFINE_ROOM; i += AFFINE_BLOCK) {
			affine_spread_bytes(dst + i, at.src, &l->spread[at.phase]);
			affine_advance(&at, l, spaced);
		}
	}
	for (; i < n; i++)
		dst[i] = (uint8_t)affine_code(l->m, p->row, k + i);
}

/* ---- groups ---- */

/* Codes that share a scale. */
struct affine_run {
	struct affine_place at;
	const unsigned char *end;
	size_t n;
	float scale, offset;
};

/* A run whose scale or offset is not finite. */
static __attribute__((noinline)) void affine_decode_odd(char *dst, const struct affine_layout *l,
    const struct affine_run *r, enum dtype out)
{
	struct affine_matrix m = *l->m;

	m.codes = r->at.src;
	for (uint32_t i = 0; i < r->n; i++) {
		const float code = (float)affine_code(&m, 0, r->at.phase + i);

		element_store(dst, i, affine_formula(code, r->scale, r->offset, m.offset == AFFINE_BIASES), out);
	}
}

/* The last codes of a run, where a block would read or write too far. */
ALWAYS_INLINE void affine_decode_rest(char *dst, const struct affine_layout *l, const struct affine_place *at, size_t n,
    const struct affine_group_table *t, struct affine_variant v)
{
	unsigned char in[AFFINE_ROOM] = {0};
	char out[AFFINE_BLOCK * 4];

	memcpy(in, at->src, affine_bytes_of(l, at->phase, n));
	affine_decode_block(out, in, &l->spread[at->phase], t, v);
	memcpy(dst, out, n * out_bytes(v.out));
}

/* `first` is a copy of l->spread[0]. */
ALWAYS_INLINE void affine_decode(char *dst, const struct affine_layout *l, const struct affine_run *r,
    const struct affine_spread *first, struct affine_variant v)
{
	const size_t size = out_bytes(v.out);
	struct affine_place at = r->at;
	struct affine_group_table t;
	size_t left = r->n;

	if (__builtin_expect(!isfinite(r->scale) || !isfinite(r->offset), 0)) {
		affine_decode_odd(dst, l, r, v.out);
		return;
	}
	affine_table_build(&t, r->scale, r->offset, first, v);
	for (; left >= AFFINE_BLOCK && r->end - at.src >= AFFINE_ROOM; left -= AFFINE_BLOCK) {
		prefetch_ahead(at.src);
		affine_decode_block(dst, at.src, v.spaced ? &l->spread[at.phase] : first, &t, v);
		dst += AFFINE_BLOCK * size;
		affine_advance(&at, l, v.spaced);
	}
	for (size_t n; left; left -= n) {
		n = left < AFFINE_BLOCK ? left : AFFINE_BLOCK;
		affine_decode_rest(dst, l, &at, n, &t, v);
		dst += n * size;
		affine_advance(&at, l, v.spaced);
	}
}

/* The columns of a part group by group. */
ALWAYS_INLINE void affine_part_decode(char *dst, const struct affine_layout *l, const struct affine_part *p,
    struct affine_variant v)
{
	const uint32_t width = l->m->block_columns;
	/* A copy that no store can change stays in registers. */
	const struct affine_spread first = l->spread[0];
	uint32_t g = p->column0 / width - p->group0, n = width - p->column0 % width;

	for (uint32_t done = 0; done < p->columns; done += n, n = width, g++) {
		struct affine_run r = {
		    affine_seek(l, p->row, p->column0 + done, v.spaced), p->end, 0, p->scale[g], p->offset[g]};

		n = n < p->columns - done ? n : p->columns - done;
		r.n = n;
		affine_decode(dst + done * out_bytes(v.out), l, &r, &first, v);
	}
}

/* ---- codes with a scale each ---- */

/* Of some columns, and of the rows of a strip. */
struct affine_each {
	float scale[AFFINE_STRIP][AFFINE_EACH], offset[AFFINE_STRIP][AFFINE_EACH];
};

/* The scales of the groups of a strip, as they are gathered. */
struct affine_strip {
	float scale[AFFINE_GROUPS][AFFINE_STRIP], offset[AFFINE_GROUPS][AFFINE_STRIP];
};

/* Decodes codes [k, k + n), at most AFFINE_EACH, of row `strip_row` of a strip. */
ALWAYS_INLINE void affine_each_decode(char *dst, const struct affine_layout *l, const struct affine_part *p,
    const struct affine_each *each, uint32_t strip_row, uint32_t k, uint32_t n, struct affine_variant v)
{
	const float *scale = each->scale[strip_row], *offset = each->offset[strip_row];
	const size_t size = out_bytes(v.out);
	uint8_t code[AFFINE_EACH] = {0};
	char last[AFFINE_BLOCK * 4];
	uint32_t i = 0;

	affine_unpack(code, l, p, k, n);
	for (; i + AFFINE_BLOCK <= n; i += AFFINE_BLOCK)
		decode_each32(dst + i * size, code + i, scale + i, offset + i, v.biases, v.out);
	if (i == n)
		return;
	decode_each32(last, code + i, scale + i, offset + i, v.biases, v.out);
	memcpy(dst + i * size, last, (n - i) * size);
}

/* Decodes a part whose groups are narrow, or do not begin at a byte. */
ALWAYS_INLINE void affine_part_each(char *dst, const struct affine_layout *l, const struct affine_part *p,
    struct affine_variant v)
{
	const uint32_t width = l->m->block_columns;
	struct affine_each each = {0};

	for (uint32_t done = 0, n; done < p->columns; done += n) {
		const uint32_t k = p->column0 + done;

		n = p->columns - done < AFFINE_EACH ? p->columns - done : AFFINE_EACH;
		for (uint32_t i = 0; i < n; i++) {
			const uint32_t g = (k + i) / width - p->group0;

			each.scale[0][i] = p->scale[g];
			each.offset[0][i] = p->offset[g];
		}
		affine_each_decode(dst + done * out_bytes(v.out), l, p, &each, 0, k, n, v);
	}
}

/* Columns, at most AFFINE_EACH, of a table. */
static void affine_gather_all(float to[AFFINE_STRIP][AFFINE_EACH], const float (*table)[AFFINE_STRIP],
    const uint32_t *index, uint32_t n)
{
	uint32_t k = 0;

	for (; k + LANES <= n; k += LANES) {
		affine_floats row[AFFINE_STRIP];

		affine_gather(row, table, index + k);
		UNROLL
		for (unsigned i = 0; i < AFFINE_STRIP; i++)
			memcpy(&to[i][k], &row[i], sizeof(row[i]));
	}
	for (; k < n; k++)
		for (unsigned i = 0; i < AFFINE_STRIP; i++)
			to[i][k] = table[index[k]][i];
}

/* ---- rectangles ---- */

/* True if groups of the matrix from column0 on can be decoded one after another. */
static bool affine_has_groups(const struct affine_matrix *m, uint32_t column0)
{
	const bool single = m->block_columns >= m->columns;

	return !m->g_idx && m->block_columns >= AFFINE_NARROW && affine_is_readable(m, column0) &&
	       (single || affine_is_readable(m, m->block_columns));
}

/* Sets p->columns: as many from p->column0 on, at most `left`, as there is room for scales. Loads those scales. */
static __attribute__((noinline)) void affine_part_begin(struct affine_part *p, uint32_t left)
{
	const struct affine_matrix *m = p->m;
	const uint32_t width = m->block_columns;
	const uint64_t room = (uint64_t)AFFINE_GROUPS * width - p->column0 % width;

	p->columns = left < room ? left : (uint32_t)room;
	p->group0 = p->column0 / width;
	affine_load_groups(p, (p->column0 + p->columns - 1) / width - p->group0 + 1);
}

ALWAYS_INLINE void affine_rect_rows(char *dst, const struct affine_layout *l, const struct kernel_rect *r, bool each,
    struct affine_variant v)
{
	const struct affine_matrix *m = l->m;
	struct affine_part p = {.m = m, .end = m->codes + (size_t)(r->row0 + r->rows) * m->row_bytes};

	for (p.row = r->row0; p.row < r->row0 + r->rows; p.row++) {
		for (uint32_t done = 0; done < r->columns; done += p.columns) {
			p.column0 = r->column0 + done;
			affine_part_begin(&p, r->columns - done);
			if (each)
				affine_part_each(dst, l, &p, v);
			else
				affine_part_decode(dst, l, &p, v);
			dst += p.columns * out_bytes(v.out);
		}
	}
}

/* Fills a strip with the scales of AFFINE_STRIP rows; if there are fewer, the last is repeated. */
static void affine_load_strip(struct affine_strip *strip, struct affine_part *p, uint32_t row, uint32_t rows)
{
	const uint32_t groups = p->m->groups;

	for (uint32_t i = 0; i < AFFINE_STRIP; i++) {
		p->row = row + (i < rows ? i : rows - 1);
		affine_load_groups(p, groups);
		for (uint32_t g = 0; g < groups; g++) {
			strip->scale[g][i] = p->scale[g];
			strip->offset[g][i] = p->offset[g];
		}
	}
}

/* Groups in any order. */
ALWAYS_INLINE void affine_rect_indexed(char *dst, const struct affine_layout *l, const struct kernel_rect *r,
    struct affine_variant v)
{
	const struct affine_matrix *m = l->m;
	const size_t pitch = r->columns * out_bytes(v.out);
	struct affine_part p = {.m = m, .end = m->codes + (size_t)(r->row0 + r->rows) * m->row_bytes};
	struct affine_each each = {0};
	struct affine_strip strip;

	for (uint32_t i = 0; i < AFFINE_STRIP; i++)
		for (uint32_t k = 0; k < AFFINE_EACH && m->offset == AFFINE_MIDDLE; k++)
			each.offset[i][k] = (float)(1 << (m->bits - 1));
	for (uint32_t row = 0, rows; row < r->rows; row += rows, dst += rows * pitch) {
		rows = r->rows - row < AFFINE_STRIP ? r->rows - row : AFFINE_STRIP;
		affine_load_strip(&strip, &p, r->row0 + row, rows);
		for (uint32_t done = 0, n; done < r->columns; done += n) {
			const uint32_t k = r->column0 + done;

			n = r->columns - done < AFFINE_EACH ? r->columns - done : AFFINE_EACH;
			affine_gather_all(each.scale, strip.scale, m->g_idx + k, n);
			if (m->offset != AFFINE_MIDDLE)
				affine_gather_all(each.offset, strip.offset, m->g_idx + k, n);
			for (uint32_t i = 0; i < rows; i++) {
				p.row = r->row0 + row + i;
				affine_each_decode(dst + i * pitch + done * out_bytes(v.out), l, &p, &each, i, k, n, v);
			}
		}
	}
}

/* Fields of fewer than 8 bits, in groups. */
ALWAYS_INLINE void affine_rect_fields(char *dst, const struct affine_layout *l, const struct kernel_rect *r,
    struct affine_variant v)
{
	if (v.out != DTYPE_F32 && affine_looks_up(l->m->bits))
		affine_rect_rows(dst, l, r, false, (struct affine_variant){v.out, AFFINE_TABLE, v.biases, v.spaced});
	else
		affine_rect_rows(dst, l, r, false, (struct affine_variant){v.out, AFFINE_FIELDS, v.biases, v.spaced});
}

ALWAYS_INLINE void affine_rect_kind(char *dst, const struct affine_layout *l, const struct kernel_rect *r,
    struct affine_variant v)
{
	if (l->m->g_idx)
		affine_rect_indexed(dst, l, r, v);
	else if (!affine_has_groups(l->m, r->column0))
		affine_rect_rows(dst, l, r, true, v);
	else if (l->m->bits == 8)
		affine_rect_rows(dst, l, r, false, (struct affine_variant){v.out, AFFINE_OCTETS, v.biases, false});
	else if (l->phases > 1)
		affine_rect_fields(dst, l, r,
		    (struct affine_variant){.out = v.out, .biases = v.biases, .spaced = true});
	else
		affine_rect_fields(dst, l, r, v);
}

ALWAYS_INLINE void affine_rect_decode(void *dst, const struct affine_matrix *m, const struct kernel_rect *r,
    enum dtype out)
{
	struct affine_layout l;

	affine_layout_init(&l, m);
	if (m->g_idx && m->groups > AFFINE_GROUPS)
		affine_reference[out](dst, m, r);
	else if (m->offset == AFFINE_BIASES)
		affine_rect_kind(dst, &l, r, (struct affine_variant){.out = out, .biases = true});
	else
		affine_rect_kind(dst, &l, r, (struct affine_variant){.out = out});
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
