/* SPDX-License-Identifier: MIT */

/*
 * The part of a SIMD kernel that is the same for every instruction set. A file gptq_<isa>.c defines COLUMNS,
 * struct tables, struct codes and struct values, includes this, defines the functions declared below, and calls
 * gptq_install() and cast_install().
 *
 * The unit of work is a strip of COLUMNS columns of qweight, that is COLUMNS rows of output, because neighbouring
 * columns lie next to each other in memory: one vector load takes the words of all of them, and for 16 columns no byte
 * of a cache line is wasted. Along K the unit is a block of 32 codes, which take `bits` words in every layout and are
 * one or two whole cache lines of each output row. Strips that lie side by side are decoded group by group, so that the
 * cache lines of a row of qweight are used one right after the other: a row is another page, and another row of DRAM.
 *
 *   grouped  whole groups: the few values that a code can stand for in a (column, group) are computed by the formula
 *            once, and codes then only pick from that table. Bit-exact whatever the scale is, and most of the rounding
 *            is saved. Where a table would have more than 32 entries, the formula is computed for every code.
 *   general  any g_idx, any group size: the formula for one k of all columns, then a transposition.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel/cast.h"
#include "kernel/gptq.h"
#include "kernel/inline.h"

enum {
	BLOCK = 32,                             /* codes of a column that are decoded together */
	BLOCK_WORDS = 8,                        /* the words they take, at most */
	BLOCKS_AT_ONCE = 4,                     /* see tile_expand() */
	STRIPS = 128 / COLUMNS,                 /* decoded side by side */
	GROUPS_AT_HAND = 512,                   /* of these the parameters are expanded once per strip */
	PLANES_MAX = 3,                         /* parts that a field can have */
	PREFETCH_ROWS = COLUMNS < 16 ? 16 : 24, /* rows of qweight are too far apart to guess the next one */
};

/* One element for each column of a strip. */
typedef uint32_t words __attribute__((vector_size(COLUMNS * 4)));
typedef int32_t ints __attribute__((vector_size(COLUMNS * 4)));
typedef float floats __attribute__((vector_size(COLUMNS * 4)));

/* As what a block of codes comes to codes_build(). */
enum form {
	STREAM, /* its words, of 2, 3 or 4 bits */
	PLANES, /* its words, of 3, 5, 6 or 7 bits; where an instruction set has kernels for them */
	BYTES,  /* a byte for each code, whatever the format: so one kernel is enough, whose `bits` are not constant */
};

/* What a kernel is made for: constants, so that the compiler makes each kernel from the same functions. */
struct variant {
	unsigned bits;
	enum form form;
	bool grouped;
	bool several; /* groups in a batch */
	bool finite; /* no scale of the strip or batch is inf or NaN: then no output is NaN, and nobody looks for one */
	enum dtype out;
};

/* Where in its words a row of qzeros has the fields of the columns; they are made up of as many parts. */
struct field {
	words index;
	words shift;
};

/* The columns [n0, n0 + columns) of a matrix and the output of the first of them. */
struct strip {
	const struct qtensor *q;
	char *dst;
	uint32_t n0;
	uint32_t columns;   /* 1 to COLUMNS */
	uint32_t together;  /* groups that are loaded one right after the other */
	uint32_t zero_word; /* the first word of a row of qzeros that has to do with them, and how many there are */
	uint32_t zero_words;
	struct field field[PLANES_MAX];
};

/* Where a block goes: 32 elements for each column, `pitch` bytes apart. */
struct tile {
	char *dst;
	size_t pitch;
	uint32_t columns;
};

/* One group, or several that make up BLOCKS_AT_ONCE blocks, which are expanded together. */
struct batch {
	uint64_t k0, k1;
	struct tables tables[BLOCKS_AT_ONCE]; /* of each group */
	unsigned shift;                       /* several groups: the tables of block i are number i >> shift */
};

/* Zeros and scales of one group for the columns of a strip. Columns that are not there have some finite value. */
struct group {
	floats zero;
	floats scale;
};

/* What an instruction set has to bring. Loads read n elements (1 to COLUMNS) and not a byte more. */
ALWAYS_INLINE words load_words(const unsigned char *src, uint32_t n);
ALWAYS_INLINE floats load_floats(const unsigned char *src, uint32_t n, enum dtype dtype);
ALWAYS_INLINE void store_floats(char *dst, floats value, enum dtype dtype);
ALWAYS_INLINE void tables_build(struct tables *tables, const struct group *group, uint32_t columns, struct variant v);

/* Does a table hold all outputs that a code can stand for? */
ALWAYS_INLINE bool has_table(struct variant v);

/* From a block to what column_expand() reads, and from there to the outputs of column c. */
ALWAYS_INLINE void codes_build(struct codes *codes, const words *block, struct variant v);
ALWAYS_INLINE void column_expand(char *dst, const struct codes *codes, const struct tables *tables, uint32_t c,
    struct variant v);

/* An fp32 output of each column; two outputs of 16 bits, a in the lower half. */
ALWAYS_INLINE words round32(floats value, struct variant v);
ALWAYS_INLINE words round_pair(floats a, floats b, struct variant v);

/*
 * From vectors of outputs, which are four bytes of each column, to what tile_finish() reads; part i is four of them.
 * And from there to the tile: 1 to BLOCKS_AT_ONCE blocks of `parts` parts, as in tile_expand().
 */
ALWAYS_INLINE void values_put(struct values *values, unsigned i, const words value[4]);
ALWAYS_INLINE void tile_finish(const struct tile *tile, const struct values *values, uint32_t blocks, unsigned parts);

/* Element c of the result is word index[c] of a row of n words, which the strip's columns need a few of. */
ALWAYS_INLINE words pick_words(const unsigned char *row, uint32_t n, words index);

/* --- Codes --- */

ALWAYS_INLINE uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/*
 * Past the end of the matrix this is harmless. Only to the second-level cache: rows of qweight often are a multiple of
 * 4 KiB apart, and then more of them than the first level has ways would be in each other's place there.
 */
ALWAYS_INLINE void prefetch(uintptr_t src)
{
	__builtin_prefetch((const void *)src, 0, 2);
}

/* Wide codes take more rows: those of 128 codes are brought in at least. */
ALWAYS_INLINE unsigned rows_ahead(unsigned bits)
{
	return 4 * bits > PREFETCH_ROWS ? 4 * bits : PREFETCH_ROWS;
}

/* Two lines where the strip is not aligned. */
ALWAYS_INLINE void prefetch_words(uintptr_t src)
{
	prefetch(src);
	prefetch(src + COLUMNS * 4 - 1);
}

/* The words of the block at k; those after the end of qweight are zero. */
ALWAYS_INLINE void load_block(words *block, const struct strip *s, uint32_t k, unsigned bits)
{
	const struct qtensor *q = s->q;
	const size_t stride = (size_t)q->out_features * 4;
	const size_t row = (size_t)k / BLOCK * bits, rows = ((uint64_t)q->in_features * bits + 31) / 32;
	const unsigned char *src = q->qweight + row * stride + (size_t)s->n0 * 4;

	if (row + bits > rows) {
		memset(block, 0, bits * sizeof(*block));
		for (size_t i = 0; row + i < rows; i++)
			block[i] = load_words(src + i * stride, s->columns);
		return;
	}
	UNROLL
	for (unsigned i = 0; i < bits; i++) {
		prefetch_words((uintptr_t)src + (i + rows_ahead(bits)) * stride);
		block[i] = load_words(src + i * stride, s->columns);
	}
}

/* Spreads four neighbouring fields of `width` bits, the lowest ones of each word, to the four bytes of the word. */
ALWAYS_INLINE words spread4(words x, unsigned width)
{
	x &= (1u << 4 * width) - 1;
	x = (x | x << (16 - 2 * width)) & (((1u << 2 * width) - 1) * 0x00010001u);
	return (x | x << (8 - width)) & (((1u << width) - 1) * 0x01010101u);
}

/* Codes 4i to 4i + 3 of a block of a stream, one in each byte. */
ALWAYS_INLINE words stream_code4(const words *block, unsigned i, unsigned bits)
{
	unsigned bit = 4 * i * bits, shift = bit % 32;
	words codes = block[bit / 32] >> shift;

	if (shift + 4 * bits > 32)
		codes |= block[bit / 32 + 1] << (32 - shift);
	return spread4(codes, bits);
}

ALWAYS_INLINE words planar_code4(const words *block, unsigned i, unsigned bits)
{
	words codes = {0};
	unsigned done = 0;

	for (unsigned width = 4; width; width /= 2) {
		if (!(bits & width))
			continue;
		codes |= spread4(block[i * width / 8] >> 4 * i * width % 32, width) << done;
		done += width;
		block += width;
	}
	return codes;
}

ALWAYS_INLINE void load_spread(words *bytes, const struct strip *s, uint32_t k, unsigned bits)
{
	words block[BLOCK_WORDS];

	load_block(block, s, k, bits);
	UNROLL
	for (unsigned i = 0; i < BLOCK / 4; i++)
		bytes[i] = qtensor_is_planar(s->q) ? planar_code4(block, i, bits) : stream_code4(block, i, bits);
}

/* The block at k of any format, as bytes. Everything but the choice is made for one width. */
static __attribute__((noinline)) void load_bytes(words *bytes, const struct strip *s, uint32_t k)
{
	switch (s->q->bits) {
	case 2:
		load_spread(bytes, s, k, 2);
		break;
	case 3:
		load_spread(bytes, s, k, 3);
		break;
	case 4:
		load_spread(bytes, s, k, 4);
		break;
	case 5:
		load_spread(bytes, s, k, 5);
		break;
	case 6:
		load_spread(bytes, s, k, 6);
		break;
	case 7:
		load_spread(bytes, s, k, 7);
		break;
	default:
		load_block(bytes, s, k, 8);
	}
}

ALWAYS_INLINE void load_codes(words *block, const struct strip *s, uint32_t k, struct variant v)
{
	if (v.form == BYTES)
		load_bytes(block, s, k);
	else
		load_block(block, s, k, v.bits);
}

/* Codes 4i to 4i + 3, one in each byte, of what load_codes() gave. */
ALWAYS_INLINE words block_code4(const words *block, unsigned i, struct variant v)
{
	return v.form == BYTES ? block[i] : stream_code4(block, i, v.bits);
}

/* --- Zeros and scales --- */

/* Fills in what is the same for all groups. A column that is not there has a field nevertheless, the first. */
static void find_planar_fields(struct strip *s)
{
	const unsigned bits = s->q->bits;
	const uint32_t first = s->n0 / 32 * bits, last = (s->n0 + s->columns - 1) / 32 * bits + bits - 1;

	s->zero_word = first;
	s->zero_words = last - first + 1;
	for (uint32_t c = 0; c < s->columns; c++) {
		const uint32_t n = s->n0 + c;
		uint32_t word = n / 32 * bits - first;
		struct field *field = s->field;

		for (unsigned width = 4; width; width /= 2) {
			if (!(bits & width))
				continue;
			field->index[c] = word + n % 32 * width / 32;
			field->shift[c] = n % 32 * width % 32;
			field++;
			word += width;
		}
	}
}

static void find_fields(struct strip *s)
{
	const uint64_t bits = s->q->bits, last = ((s->n0 + s->columns) * bits - 1) / 32;

	memset(s->field, 0, sizeof(s->field));
	if (qtensor_is_planar(s->q)) {
		find_planar_fields(s);
		return;
	}
	s->zero_word = s->n0 * bits / 32;
	s->zero_words = last - s->zero_word + 1;
	for (uint32_t c = 0; c < s->columns; c++) {
		s->field[0].index[c] = (s->n0 + c) * bits / 32 - s->zero_word;
		s->field[0].shift[c] = (s->n0 + c) * bits % 32;
	}
}

ALWAYS_INLINE words planar_fields(const struct strip *s, const unsigned char *row)
{
	const struct field *field = s->field;
	words value = {0};
	unsigned done = 0;

	for (unsigned width = 4; width; width /= 2) {
		words part;

		if (!(s->q->bits & width))
			continue;
		part = pick_words(row, s->zero_words, field->index) >> field->shift;
		value |= (part & ((1u << width) - 1)) << done;
		done += width;
		field++;
	}
	return value;
}

/* `add` goes to each word first. */
ALWAYS_INLINE words stream_fields(const struct strip *s, const unsigned char *row, uint32_t add)
{
	const words index = s->field[0].index, shift = s->field[0].shift;
	const words value = (pick_words(row, s->zero_words, index) + add) >> shift;
	words beyond, next;

	if (32 % s->q->bits == 0)
		return value;
	/* The last word has no successor, and needs none. */
	beyond = (words)(index < (words){0} + (s->zero_words - 1));
	next = pick_words(row, s->zero_words, index + (beyond & 1)) & beyond;
	return value | next << 1 << (31 - shift);
}

/* Where the words of the strip are in a row of qzeros. Brings in those that are loaded some time later. */
ALWAYS_INLINE const unsigned char *zeros_at(const struct strip *s, uint32_t g)
{
	const size_t row = ((uint64_t)s->q->out_features * s->q->bits + 31) / 32 * 4;
	const unsigned char *at = s->q->qzeros + g * row + (size_t)s->zero_word * 4;

	prefetch((uintptr_t)at + s->together * row);
	return at;
}

ALWAYS_INLINE words load_zeros(const struct strip *s, uint32_t g)
{
	const struct qtensor *q = s->q;
	const uint32_t mask = (1u << q->bits) - 1;
	const uint32_t v1 = q->zeros == ZEROS_V1;
	const unsigned char *row;

	if (q->zeros == ZEROS_MIDDLE)
		return (words){0} + (1u << (q->bits - 1));
	row = zeros_at(s, g);
	if (qtensor_is_planar(q))
		return (planar_fields(s, row) + v1) & mask;
	if (32 % q->bits == 0)
		return stream_fields(s, row, v1 ? ~0u / mask : 0) & mask;
	return (stream_fields(s, row, 0) + v1) & mask;
}

/* Brings in the next group, or that of the next ones. */
static __attribute__((noinline)) void load_group(struct group *group, const struct strip *s, uint32_t g)
{
	const struct qtensor *q = s->q;
	const size_t width = q->scale_dtype == DTYPE_F32 ? 4 : 2, row = (size_t)q->out_features * width;
	const unsigned char *scales = q->scales + g * row + s->n0 * width;

	prefetch((uintptr_t)scales + s->together * row);
	group->zero = __builtin_convertvector((ints)load_zeros(s, g), floats);
	if (q->scale_dtype == DTYPE_F16)
		group->scale = load_floats(scales, s->columns, DTYPE_F16);
	else if (q->scale_dtype == DTYPE_BF16)
		group->scale = load_floats(scales, s->columns, DTYPE_BF16);
	else
		group->scale = load_floats(scales, s->columns, DTYPE_F32);
}

static bool is_finite(const struct group *group)
{
	const ints exponent = (ints)group->scale & 0x7f800000;
	const ints special = exponent == 0x7f800000;
	bool finite = true;

	for (uint32_t c = 0; c < COLUMNS; c++)
		finite &= !special[c];
	return finite;
}

/* --- Blocks --- */

/* Room for blocks that do not go to the output at once. */
struct spare {
	char bytes[COLUMNS][BLOCKS_AT_ONCE * BLOCK * sizeof(float)] __attribute__((aligned(64)));
};

ALWAYS_INLINE size_t out_bytes(enum dtype out)
{
	return out == DTYPE_F32 ? 4 : 2;
}

ALWAYS_INLINE struct tile tile_at(const struct strip *s, uint32_t k, enum dtype out)
{
	return (struct tile){s->dst + k * out_bytes(out), s->q->in_features * out_bytes(out), s->columns};
}

ALWAYS_INLINE struct tile spare_tile(const struct strip *s, struct spare *spare)
{
	return (struct tile){spare->bytes[0], sizeof(spare->bytes[0]), s->columns};
}

/* Copies `bytes` bytes of each column from where they were spared. */
static void spare_finish(const struct tile *to, const struct spare *spare, size_t bytes)
{
	for (uint32_t c = 0; c < to->columns; c++) {
		char *dst = to->dst + c * to->pitch;
		size_t i = 0;

		for (; i + sizeof(words) <= bytes; i += sizeof(words))
			memcpy(dst + i, spare->bytes[c] + i, sizeof(words));
		if (i < bytes)
			memcpy(dst + i, spare->bytes[c] + i, bytes - i);
	}
}

/*
 * The outputs of 1 to BLOCKS_AT_ONCE blocks one after the other, all of one column before the next. Rows of output
 * often are a multiple of 4 KiB apart and so compete for the same few lines of the first-level cache; four lines in a
 * row are written twice as fast as one line in each of 16 rows.
 */
ALWAYS_INLINE void tile_expand(const struct tile *tile, const struct codes *codes, uint32_t blocks,
    const struct batch *batch, struct variant v)
{
	const size_t block_bytes = BLOCK * out_bytes(v.out);

	for (uint32_t c = 0; c < tile->columns; c++)
		for (uint32_t i = 0; i < blocks; i++)
			column_expand(tile->dst + c * tile->pitch + i * block_bytes, &codes[i],
			    &batch->tables[v.several ? i >> batch->shift : 0], c, v);
}

/* Blocks [k0, k1) of a batch, of which only the last one of all may be short. */
ALWAYS_INLINE void expand_blocks(const struct strip *s, uint32_t k0, uint32_t k1, const struct batch *batch,
    struct variant v)
{
	const uint32_t blocks = (k1 - k0 + BLOCK - 1) / BLOCK;
	struct tile tile = tile_at(s, k0, v.out), whole;
	struct codes codes[BLOCKS_AT_ONCE];
	words block[BLOCK_WORDS];
	struct spare spare;

	for (uint32_t i = 0; i < blocks; i++) {
		load_codes(block, s, k0 + i * BLOCK, v);
		codes_build(&codes[i], block, v);
	}
	if ((k1 - k0) % BLOCK == 0) {
		tile_expand(&tile, codes, blocks, batch, v);
		return;
	}
	whole = spare_tile(s, &spare);
	tile_expand(&whole, codes, blocks, batch, v);
	spare_finish(&tile, &spare, (k1 - k0) * out_bytes(v.out));
}

ALWAYS_INLINE void expand_batch(const struct strip *s, const struct batch *batch, struct variant v)
{
	const uint64_t k1 = batch->k1;

	for (uint64_t k = batch->k0; k < k1; k += BLOCK * BLOCKS_AT_ONCE)
		expand_blocks(s, k, k1 - k < BLOCK * BLOCKS_AT_ONCE ? k1 : k + BLOCK * BLOCKS_AT_ONCE, batch, v);
}

/* Tables hold what was looked at when they were made. Without one, it is worth knowing that there is nothing to see. */
ALWAYS_INLINE void strip_batch(const struct strip *s, struct batch *batch, struct variant v)
{
	const uint32_t size = s->q->group_size, g = batch->k0 / size;
	struct variant finite = v;
	struct group group;
	bool all = !has_table(v);

	for (uint32_t i = 0; i == 0 || (v.several && batch->k0 + (uint64_t)i * size < batch->k1); i++) {
		load_group(&group, s, g + i);
		tables_build(&batch->tables[i], &group, s->columns, v);
		all = all && is_finite(&group);
	}
	finite.finite = true;
	if (all)
		expand_batch(s, batch, finite);
	else
		expand_batch(s, batch, v);
}

ALWAYS_INLINE void strips_grouped(const struct strip *strips, unsigned count, struct variant v)
{
	const uint64_t end = strips->q->in_features, step = (uint64_t)strips->together * strips->q->group_size;
	struct batch batch;

	batch.shift = strips->q->group_size / (2 * BLOCK);
	for (batch.k0 = 0; batch.k0 < end; batch.k0 = batch.k1) {
		batch.k1 = end - batch.k0 < step ? end : batch.k0 + step;
		for (unsigned i = 0; i < count; i++)
			strip_batch(&strips[i], &batch, v);
	}
}

/* The group of every k of the block at k0, which has n; in `room` if that is not to be had as it is. */
ALWAYS_INLINE const uint32_t *block_groups(uint32_t *room, const struct qtensor *q, uint32_t k0, uint32_t n)
{
	uint32_t g, left;

	if (q->g_idx && n == BLOCK)
		return q->g_idx + k0;
	memset(room, 0, BLOCK * sizeof(*room));
	if (q->g_idx) {
		memcpy(room, q->g_idx + k0, n * sizeof(*room));
		return room;
	}
	g = k0 / q->group_size;
	left = q->group_size - k0 % q->group_size;
	for (uint32_t i = 0; i < n; i++) {
		room[i] = g;
		if (--left == 0) {
			left = q->group_size;
			g++;
		}
	}
	return room;
}

/*
 * The parameters of every group, or, where there are too many groups to keep, of those in a block. Zeros stand for
 * themselves and what code_float() adds.
 */
struct groups {
	bool at_hand;
	struct group group[GROUPS_AT_HAND];
};

static void load_general(struct group *group, const struct strip *s, uint32_t g)
{
	load_group(group, s, g);
	group->zero += 0x1p23f;
}

/* Where in groups->group those of a block are. Of groups that are not at hand, each run is loaded to a slot. */
ALWAYS_INLINE void find_groups(uint32_t *at, const uint32_t *of)
{
	words w;

	for (uint32_t i = 0; i < BLOCK; i += COLUMNS) {
		memcpy(&w, of + i, sizeof(w));
		w *= (uint32_t)sizeof(struct group);
		memcpy(at + i, &w, sizeof(w));
	}
}

static __attribute__((noinline)) void load_slots(struct group *slots, const struct strip *s, const uint32_t *of,
    uint32_t *at)
{
	uint32_t last = 0, slot = 0;

	for (uint32_t i = 0; i < BLOCK; i++) {
		if (i == 0 || of[i] != last) {
			slot = i;
			last = of[i];
			load_general(&slots[slot], s, last);
		}
		at[i] = slot * sizeof(struct group);
	}
}

/* What is under the mask, plus 2^23: as the last bits of a float they are just that. */
ALWAYS_INLINE floats code_float(words word, uint32_t mask)
{
	return (floats)((word & mask) | (words)((floats){0} + 0x1p23f));
}

ALWAYS_INLINE floats value_of(words word, uint32_t mask, const struct group *group)
{
	return (code_float(word, mask) - group->zero) * group->scale;
}

ALWAYS_INLINE floats value_at(words word, uint32_t mask, const struct group *groups, uint32_t at)
{
	return value_of(word, mask, (const struct group *)((const char *)groups + at));
}

/* Eight codes, whose groups are `at`: one word of 4 bits, or two of bytes. Part i is the first of what comes of them.
 */
ALWAYS_INLINE void general_eight(struct values *values, unsigned i, const words *word, const struct group *groups,
    const uint32_t *at, struct variant v)
{
	const unsigned bits = v.form == BYTES ? 8 : v.bits, mask = (1u << bits) - 1;
	words value[8];

	UNROLL
	for (unsigned k = 0; k < 8; k += 2) {
		const words w = word[k * bits / 32] >> k * bits % 32;
		const floats a = value_at(w, mask, groups, at[k]), b = value_at(w >> bits, mask, groups, at[k + 1]);

		if (v.out == DTYPE_F32) {
			value[k] = round32(a, v);
			value[k + 1] = round32(b, v);
		} else {
			value[k / 2] = round_pair(a, b, v);
		}
	}
	values_put(values, i, value);
	if (v.out == DTYPE_F32)
		values_put(values, i + 1, value + 4);
}

ALWAYS_INLINE unsigned words_of_eight(struct variant v)
{
	return v.form == BYTES ? 2 : 1;
}

ALWAYS_INLINE unsigned block_parts(enum dtype out)
{
	return BLOCK * out_bytes(out) / 16;
}

/* The k from k0 on, at most BLOCKS_AT_ONCE blocks of them. */
ALWAYS_INLINE void general_blocks(const struct strip *s, struct groups *groups, uint32_t k0, uint32_t count,
    struct variant v)
{
	const uint32_t blocks = (count + BLOCK - 1) / BLOCK;
	const struct tile tile = tile_at(s, k0, v.out);
	struct values values[BLOCKS_AT_ONCE];
	struct tile whole;
	struct spare spare;
	words block[BLOCK_WORDS];
	uint32_t room[BLOCK];

	for (uint32_t i = 0; i < blocks; i++) {
		const uint32_t k = k0 + i * BLOCK;
		const uint32_t *of = block_groups(room, s->q, k, min_u32(k0 + count - k, BLOCK));

		if (groups->at_hand)
			find_groups(room, of);
		else
			load_slots(groups->group, s, of, room);
		load_codes(block, s, k, v);
		for (unsigned j = 0; j < BLOCK; j += 8)
			general_eight(&values[i], j / 8 * out_bytes(v.out) / 2, block + j / 8 * words_of_eight(v),
			    groups->group, room + j, v);
	}
	if (count % BLOCK == 0) {
		tile_finish(&tile, values, blocks, block_parts(v.out));
		return;
	}
	whole = spare_tile(s, &spare);
	tile_finish(&whole, values, blocks, block_parts(v.out));
	spare_finish(&tile, &spare, count * out_bytes(v.out));
}

ALWAYS_INLINE void general_all(const struct strip *s, struct groups *groups, struct variant v)
{
	const uint32_t end = s->q->in_features;
	uint32_t count;

	for (uint32_t k = 0; k < end; k += count) {
		count = min_u32(end - k, BLOCK * BLOCKS_AT_ONCE);
		general_blocks(s, groups, k, count, v);
	}
}

ALWAYS_INLINE void strip_general(const struct strip *s, struct variant v)
{
	const struct qtensor *q = s->q;
	struct variant finite = v;
	struct groups groups;
	bool all;

	groups.at_hand = all = q->groups <= GROUPS_AT_HAND;
	for (uint32_t g = 0; groups.at_hand && g < q->groups; g++) {
		load_general(&groups.group[g], s, g);
		all &= is_finite(&groups.group[g]);
	}
	finite.finite = true;
	if (all)
		general_all(s, &groups, finite);
	else
		general_all(s, &groups, v);
}

/* As many as make up BLOCKS_AT_ONCE blocks, if whole groups do. */
static uint32_t groups_together(const struct qtensor *q)
{
	return q->group_size == BLOCK || q->group_size == 2 * BLOCK ? BLOCK * BLOCKS_AT_ONCE / q->group_size : 1;
}

ALWAYS_INLINE void run(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows, struct variant v)
{
	const size_t pitch = q->in_features * out_bytes(v.out);
	struct strip strips[STRIPS];
	unsigned count = 0;

	for (uint32_t row = 0; row < nrows; row += COLUMNS) {
		struct strip *s = &strips[count];

		*s = (struct strip){.q = q, .dst = (char *)dst + row * pitch, .n0 = row0 + row};
		s->columns = min_u32(nrows - row, COLUMNS);
		s->together = v.several ? groups_together(q) : 1;
		find_fields(s);
		if (!v.grouped) {
			strip_general(s, v);
		} else if (++count == STRIPS || nrows - row <= COLUMNS) {
			strips_grouped(strips, count, v);
			count = 0;
		}
	}
}

/* --- The matrix as it is packed --- */

ALWAYS_INLINE void store_some(char *dst, floats value, uint32_t n, enum dtype out)
{
	char all[COLUMNS * sizeof(float)];

	if (n == COLUMNS) {
		store_floats(dst, value, out);
		return;
	}
	store_floats(all, value, out);
	memcpy(dst, all, n * out_bytes(out));
}

/* One row of all strips: of each, code `code` of its bytes. */
ALWAYS_INLINE void store_row(const struct strip *strips, unsigned count, size_t offset, unsigned code,
    words (*bytes)[BLOCK_WORDS], const struct group *groups, enum dtype out)
{
	for (unsigned i = 0; i < count; i++)
		store_some(strips[i].dst + offset, value_of(bytes[i][code / 4] >> 8 * (code % 4), 255, &groups[i]),
		    strips[i].columns, out);
}

/* The rows [k0, k1) of columns that lie side by side. Codes are bytes, whatever the format. */
ALWAYS_INLINE void strips_inputs(const struct strip *strips, unsigned count, uint32_t k0, uint32_t k1, enum dtype out)
{
	const struct qtensor *q = strips->q;
	const size_t pitch = q->out_features * out_bytes(out);
	words bytes[STRIPS][BLOCK_WORDS];
	struct group groups[STRIPS];
	uint32_t room[BLOCK], loaded = UINT32_MAX;

	for (uint32_t k = k0 / BLOCK * BLOCK; k < k1; k += BLOCK) {
		const uint32_t *of = block_groups(room, q, k, min_u32(q->in_features - k, BLOCK));
		const uint32_t end = min_u32(k1 - k, BLOCK);

		for (unsigned i = 0; i < count; i++)
			load_bytes(bytes[i], &strips[i], k);
		for (uint32_t code = k < k0 ? k0 - k : 0; code < end; code++) {
			for (unsigned i = 0; of[code] != loaded && i < count; i++)
				load_general(&groups[i], &strips[i], of[code]);
			loaded = of[code];
			store_row(strips, count, (k + code - k0) * pitch, code, bytes, groups, out);
		}
	}
}

ALWAYS_INLINE void run_inputs(void *dst, const struct qtensor *q, uint32_t k0, uint32_t nk, enum dtype out)
{
	struct strip strips[STRIPS];
	unsigned count = 0;

	for (uint32_t n = 0; n < q->out_features; n += COLUMNS) {
		struct strip *s = &strips[count++];

		*s = (struct strip){.q = q, .dst = (char *)dst + n * out_bytes(out), .n0 = n};
		s->columns = min_u32(q->out_features - n, COLUMNS);
		s->together = 1;
		find_fields(s);
		if (count == STRIPS || q->out_features - n <= COLUMNS) {
			strips_inputs(strips, count, k0, k0 + nk, out);
			count = 0;
		}
	}
}

/* --- The kernels made of this --- */

#define DEFINE_INPUTS(name, out)                                                       \
	static void name(void *dst, const struct qtensor *q, uint32_t k0, uint32_t nk) \
	{                                                                              \
		run_inputs(dst, q, k0, nk, out);                                       \
	}

DEFINE_INPUTS(inputs_f16, DTYPE_F16)
DEFINE_INPUTS(inputs_bf16, DTYPE_BF16)
DEFINE_INPUTS(inputs_f32, DTYPE_F32)

#define DEFINE_GENERAL(name, width, as, to)                                                       \
	static void name(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows)       \
	{                                                                                         \
		run(dst, q, row0, nrows, (struct variant){.bits = width, .form = as, .out = to}); \
	}

/* Blocks must not hold the end of a group, unless it is the end of all. Short groups, which are expanded several at a
 * time (see tile_expand()), have a function of their own: gcc makes worse ones of both together. */
#define DEFINE_GROUPED(name, general, width, as, to)                                                           \
	static __attribute__((noinline)) void name##_short(void *dst, const struct qtensor *q, uint32_t row0,  \
	    uint32_t nrows)                                                                                    \
	{                                                                                                      \
		run(dst, q, row0, nrows,                                                                       \
		    (struct variant){.bits = width, .form = as, .out = to, .grouped = true, .several = true}); \
	}                                                                                                      \
	static void name(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows)                    \
	{                                                                                                      \
		if (q->group_size % BLOCK && q->group_size < q->in_features)                                   \
			general(dst, q, row0, nrows);                                                          \
		else if (groups_together(q) > 1)                                                               \
			name##_short(dst, q, row0, nrows);                                                     \
		else                                                                                           \
			run(dst, q, row0, nrows,                                                               \
			    (struct variant){.bits = width, .form = as, .out = to, .grouped = true});          \
	}

DEFINE_GENERAL(general4_f16, 4, STREAM, DTYPE_F16)
DEFINE_GENERAL(general4_bf16, 4, STREAM, DTYPE_BF16)
DEFINE_GENERAL(general4_f32, 4, STREAM, DTYPE_F32)
DEFINE_GENERAL(general_f16, q->bits, BYTES, DTYPE_F16)
DEFINE_GENERAL(general_bf16, q->bits, BYTES, DTYPE_BF16)
DEFINE_GENERAL(general_f32, q->bits, BYTES, DTYPE_F32)
DEFINE_GROUPED(grouped2_f16, general_f16, 2, STREAM, DTYPE_F16)
DEFINE_GROUPED(grouped2_bf16, general_bf16, 2, STREAM, DTYPE_BF16)
DEFINE_GROUPED(grouped2_f32, general_f32, 2, STREAM, DTYPE_F32)
DEFINE_GROUPED(grouped3_f16, general_f16, 3, STREAM, DTYPE_F16)
DEFINE_GROUPED(grouped3_bf16, general_bf16, 3, STREAM, DTYPE_BF16)
DEFINE_GROUPED(grouped3_f32, general_f32, 3, STREAM, DTYPE_F32)
DEFINE_GROUPED(grouped4_f16, general4_f16, 4, STREAM, DTYPE_F16)
DEFINE_GROUPED(grouped4_bf16, general4_bf16, 4, STREAM, DTYPE_BF16)
DEFINE_GROUPED(grouped4_f32, general4_f32, 4, STREAM, DTYPE_F32)
DEFINE_GROUPED(grouped_f16, general_f16, q->bits, BYTES, DTYPE_F16)
DEFINE_GROUPED(grouped_bf16, general_bf16, q->bits, BYTES, DTYPE_BF16)
DEFINE_GROUPED(grouped_f32, general_f32, q->bits, BYTES, DTYPE_F32)

#define OUTPUTS(name)                               \
	{                                           \
		name##_f16, name##_bf16, name##_f32 \
	}

static const struct {
	unsigned bits;
	enum packing packing;
	gptq_fn *rows[2][DTYPE_VIEWS];
} kernels_made[] = {
    {2, PACKING_STREAM, {OUTPUTS(grouped2), OUTPUTS(general)}},
    {2, PACKING_PLANAR, {OUTPUTS(grouped2), OUTPUTS(general)}},
    {3, PACKING_STREAM, {OUTPUTS(grouped3), OUTPUTS(general)}},
    {3, PACKING_PLANAR, {OUTPUTS(grouped), OUTPUTS(general)}},
    {4, PACKING_STREAM, {OUTPUTS(grouped4), OUTPUTS(general4)}},
    {4, PACKING_PLANAR, {OUTPUTS(grouped4), OUTPUTS(general4)}},
    {5, PACKING_PLANAR, {OUTPUTS(grouped), OUTPUTS(general)}},
    {6, PACKING_PLANAR, {OUTPUTS(grouped), OUTPUTS(general)}},
    {7, PACKING_PLANAR, {OUTPUTS(grouped), OUTPUTS(general)}},
    {8, PACKING_STREAM, {OUTPUTS(grouped), OUTPUTS(general)}},
    {8, PACKING_PLANAR, {OUTPUTS(grouped), OUTPUTS(general)}},
};

#define DEFINE_CAST(name, from, to)                                                                            \
	static void name(void *dst, const void *src, size_t n)                                                 \
	{                                                                                                      \
		const size_t whole = n - n % COLUMNS, src_size = from == DTYPE_F32 ? 4 : 2;                    \
		const size_t dst_size = to == DTYPE_F32 ? 4 : 2;                                               \
                                                                                                               \
		for (size_t i = 0; i < whole; i += COLUMNS) {                                                  \
			const unsigned char *at = (const unsigned char *)src + i * src_size;                   \
                                                                                                               \
			store_floats((char *)dst + i * dst_size, load_floats(at, COLUMNS, from), to);          \
		}                                                                                              \
		cast_reference[from][to]((char *)dst + whole * dst_size, (const char *)src + whole * src_size, \
		    n - whole);                                                                                \
	}

DEFINE_CAST(cast_f16_bf16, DTYPE_F16, DTYPE_BF16)
DEFINE_CAST(cast_f16_f32, DTYPE_F16, DTYPE_F32)
DEFINE_CAST(cast_bf16_f16, DTYPE_BF16, DTYPE_F16)
DEFINE_CAST(cast_bf16_f32, DTYPE_BF16, DTYPE_F32)
DEFINE_CAST(cast_f32_f16, DTYPE_F32, DTYPE_F16)
DEFINE_CAST(cast_f32_bf16, DTYPE_F32, DTYPE_BF16)

static void gptq_install(struct gptq_dsp *dsp)
{
	static gptq_fn *const inputs[DTYPE_VIEWS] = OUTPUTS(inputs);

	memcpy(dsp->inputs, inputs, sizeof(dsp->inputs));
	for (size_t i = 0; i < sizeof(kernels_made) / sizeof(*kernels_made); i++)
		memcpy(dsp->rows[kernels_made[i].bits][kernels_made[i].packing], kernels_made[i].rows,
		    sizeof(kernels_made[i].rows));
}

static void cast_install(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS])
{
	cast[DTYPE_F16][DTYPE_BF16] = cast_f16_bf16;
	cast[DTYPE_F16][DTYPE_F32] = cast_f16_f32;
	cast[DTYPE_BF16][DTYPE_F16] = cast_bf16_f16;
	cast[DTYPE_BF16][DTYPE_F32] = cast_bf16_f32;
	cast[DTYPE_F32][DTYPE_F16] = cast_f32_f16;
	cast[DTYPE_F32][DTYPE_BF16] = cast_f32_bf16;
}
