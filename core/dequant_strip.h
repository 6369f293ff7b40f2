/* SPDX-License-Identifier: MIT */

/*
 * The part of a SIMD kernel that is the same for every instruction set. A file dequant_<isa>.c defines COLUMNS,
 * struct tables and struct codes, includes this, defines the functions declared below, and calls kernels_install().
 *
 * The unit of work is a strip of COLUMNS columns of qweight, that is COLUMNS rows of output, because neighbouring
 * columns lie next to each other in memory: one vector load takes the words of all of them, and for 16 columns no byte
 * of a cache line is wasted. Along K the unit is a block of 32 codes, which take `bits` words in every layout and are
 * one or two whole cache lines of each output row.
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

#include "dequant_impl.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

enum {
	BLOCK = 32,	      /* codes of a column that are decoded together */
	BLOCK_WORDS = 8,      /* the words they take, at most */
	BLOCKS_AT_ONCE = 4,   /* see tile_expand() */
	GROUPS_AT_HAND = 512, /* of these the parameters are expanded once per strip */
	PREFETCH_ROWS = 16,   /* the rows of qweight are too far apart for a processor to guess the next one */
};

/* One element for each column of a strip. */
typedef uint32_t words __attribute__((vector_size(COLUMNS * 4)));
typedef int32_t ints __attribute__((vector_size(COLUMNS * 4)));
typedef float floats __attribute__((vector_size(COLUMNS * 4)));

/* What a kernel is made for. Always a constant, so that the compiler makes each kernel from the same functions. */
struct variant {
	unsigned bits;
	bool planar;
	bool grouped;
	enum dtype out;
};

/* The columns [n0, n0 + columns) of a matrix and the output of the first of them. */
struct strip {
	const struct qtensor *q;
	char *dst;
	uint32_t n0;
	uint32_t columns; /* 1 to COLUMNS */
};

/* Where a block goes: 32 elements for each column, `pitch` bytes apart. */
struct tile {
	char *dst;
	size_t pitch;
	uint32_t columns;
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

/*
 * From a block to what tile_expand() reads, and from there to outputs: 1 to BLOCKS_AT_ONCE blocks one after the other,
 * all of one column before the next. Rows of output often are a multiple of 4 KiB apart and so compete for the same few
 * lines of the first-level cache; four lines in a row are written twice as fast as one line in each of 16 rows.
 */
ALWAYS_INLINE void codes_build(struct codes *codes, const words *block, struct variant v);
ALWAYS_INLINE void tile_expand(
    const struct tile *tile, const struct codes *codes, uint32_t blocks, const struct tables *tables, struct variant v);
ALWAYS_INLINE void tile_transpose(const struct tile *tile, const floats *value, enum dtype out);

/* --- Codes --- */

ALWAYS_INLINE uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Two lines where the strip is not aligned. Past the end of the matrix this is harmless. */
ALWAYS_INLINE void prefetch_words(uintptr_t src)
{
	__builtin_prefetch((const void *)src);
	__builtin_prefetch((const void *)(src + COLUMNS * 4 - 1));
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
		prefetch_words((uintptr_t)src + (i + PREFETCH_ROWS) * stride);
		block[i] = load_words(src + i * stride, s->columns);
	}
}

/* Code i of a block. */
ALWAYS_INLINE words block_code(const words *block, unsigned i, struct variant v)
{
	unsigned bit = i * v.bits, shift = bit % 32;
	words code = {0};

	if (!v.planar) {
		code = block[bit / 32] >> shift;
		if (shift + v.bits > 32)
			code |= block[bit / 32 + 1] << (32 - shift);
		return code & ((1u << v.bits) - 1);
	}
	for (unsigned width = 4, done = 0, word = 0; width; width /= 2) {
		if (!(v.bits & width))
			continue;
		code |= (block[word + i * width / 32] >> i * width % 32 & ((1u << width) - 1)) << done;
		done += width;
		word += width;
	}
	return code;
}

/* Spreads four neighbouring fields of `width` bits, the lowest ones of each word, to the four bytes of the word. */
ALWAYS_INLINE words spread4(words x, unsigned width)
{
	x &= (1u << 4 * width) - 1;
	x = (x | x << (16 - 2 * width)) & (((1u << 2 * width) - 1) * 0x00010001u);
	return (x | x << (8 - width)) & (((1u << width) - 1) * 0x01010101u);
}

/* Codes 4i to 4i + 3 of a block, one in each byte. */
ALWAYS_INLINE words block_code4(const words *block, unsigned i, struct variant v)
{
	unsigned bit = 4 * i * v.bits, shift = bit % 32;
	words codes = {0};

	if (v.bits == 8)
		return block[i];
	if (!v.planar) {
		codes = block[bit / 32] >> shift;
		if (shift + 4 * v.bits > 32)
			codes |= block[bit / 32 + 1] << (32 - shift);
		return spread4(codes, v.bits);
	}
	for (unsigned width = 4, done = 0, word = 0; width; width /= 2) {
		if (!(v.bits & width))
			continue;
		codes |= spread4(block[word + i * width / 8] >> 4 * i * width % 32, width) << done;
		done += width;
		word += width;
	}
	return codes;
}

/* --- Zeros and scales --- */

ALWAYS_INLINE uint32_t load_word(const unsigned char *row, size_t i)
{
	uint32_t word;

	memcpy(&word, row + i * 4, sizeof(word));
	return word;
}

ALWAYS_INLINE uint32_t stream_zero(const unsigned char *row, uint32_t n, unsigned bits, enum zeros zeros)
{
	const uint32_t mask = (1u << bits) - 1;
	const bool straddles = 32 % bits;
	const size_t word = (uint64_t)n * bits / 32;
	const unsigned shift = n * bits % 32;
	uint32_t field;

	if (!straddles)
		return (load_word(row, word) + (zeros == ZEROS_V1 ? ~0u / mask : 0)) >> shift & mask;
	field = load_word(row, word) >> shift;
	if (shift + bits > 32)
		field |= load_word(row, word + 1) << (32 - shift);
	return (field + (zeros == ZEROS_V1)) & mask;
}

ALWAYS_INLINE void load_zeros(ints *zero, const struct strip *s, uint32_t g, struct variant v)
{
	const struct qtensor *q = s->q;
	const size_t row_words = ((uint64_t)q->out_features * v.bits + 31) / 32;

	*zero = (ints){0} + (1 << (v.bits - 1));
	if (q->zeros == ZEROS_MIDDLE)
		return;
	for (uint32_t c = 0; c < s->columns; c++)
		if (v.planar)
			(*zero)[c] = qtensor_zero(q, g, s->n0 + c);
		else
			(*zero)[c] = stream_zero(q->qzeros + g * row_words * 4, s->n0 + c, v.bits, q->zeros);
}

ALWAYS_INLINE void load_group(struct group *group, const struct strip *s, uint32_t g, struct variant v)
{
	const struct qtensor *q = s->q;
	const size_t first = (size_t)g * q->out_features + s->n0;
	ints zero;

	load_zeros(&zero, s, g, v);
	group->zero = __builtin_convertvector(zero, floats);
	if (q->scale_dtype == DTYPE_F16)
		group->scale = load_floats(q->scales + first * 2, s->columns, DTYPE_F16);
	else if (q->scale_dtype == DTYPE_BF16)
		group->scale = load_floats(q->scales + first * 2, s->columns, DTYPE_BF16);
	else
		group->scale = load_floats(q->scales + first * 4, s->columns, DTYPE_F32);
}

/* --- Blocks --- */

/* Room for a block that ends after the last k. */
struct spare {
	char bytes[COLUMNS][BLOCK * sizeof(float)] __attribute__((aligned(64)));
};

ALWAYS_INLINE struct tile tile_at(const struct strip *s, uint32_t k, enum dtype out)
{
	const size_t size = out == DTYPE_F32 ? 4 : 2;

	return (struct tile){s->dst + k * size, s->q->in_features * size, s->columns};
}

ALWAYS_INLINE struct tile spare_tile(const struct strip *s, struct spare *spare)
{
	return (struct tile){spare->bytes[0], sizeof(spare->bytes[0]), s->columns};
}

static void spare_finish(const struct strip *s, uint32_t k, const struct spare *spare, enum dtype out)
{
	const size_t size = out == DTYPE_F32 ? 4 : 2, bytes = (s->q->in_features - k) * size;
	const struct tile tile = tile_at(s, k, out);

	for (uint32_t c = 0; c < s->columns; c++)
		memcpy(tile.dst + c * tile.pitch, spare->bytes[c], bytes);
}

/* Blocks [k0, k1) of one group, of which only the last one of all may be short. */
ALWAYS_INLINE void expand_blocks(
    const struct strip *s, uint32_t k0, uint32_t k1, const struct tables *tables, struct variant v)
{
	struct codes codes[BLOCKS_AT_ONCE];
	words block[BLOCK_WORDS];
	const uint32_t blocks = (k1 - k0) / BLOCK;
	struct tile tile = tile_at(s, k0, v.out);
	struct spare spare;

	for (uint32_t i = 0; i < blocks; i++) {
		load_block(block, s, k0 + i * BLOCK, v.bits);
		codes_build(&codes[i], block, v);
	}
	tile_expand(&tile, codes, blocks, tables, v);
	if ((k1 - k0) % BLOCK == 0)
		return;
	tile = spare_tile(s, &spare);
	load_block(block, s, k0 + blocks * BLOCK, v.bits);
	codes_build(&codes[0], block, v);
	tile_expand(&tile, codes, 1, tables, v);
	spare_finish(s, k0 + blocks * BLOCK, &spare, v.out);
}

ALWAYS_INLINE void strip_grouped(const struct strip *s, struct variant v)
{
	const uint64_t end = s->q->in_features, group_size = s->q->group_size;
	struct tables tables;
	struct group group;

	for (uint64_t k0 = 0, g = 0; k0 < end; k0 += group_size, g++) {
		const uint64_t k1 = k0 + group_size < end ? k0 + group_size : end;

		load_group(&group, s, g, v);
		tables_build(&tables, &group, s->columns, v);
		for (uint64_t k = k0; k < k1; k += BLOCK * BLOCKS_AT_ONCE)
			expand_blocks(
			    s, k, k1 - k < BLOCK * BLOCKS_AT_ONCE ? k1 : k + BLOCK * BLOCKS_AT_ONCE, &tables, v);
	}
}

/* The parameters of every group, or, where there are too many groups to keep, of the group used last. */
struct groups {
	bool at_hand;
	uint32_t last;
	struct group group[GROUPS_AT_HAND];
};

ALWAYS_INLINE const struct group *find_group(struct groups *groups, const struct strip *s, uint32_t g, struct variant v)
{
	if (groups->at_hand)
		return &groups->group[g];
	if (g != groups->last)
		load_group(&groups->group[0], s, g, v);
	groups->last = g;
	return &groups->group[0];
}

ALWAYS_INLINE void strip_general(const struct strip *s, struct variant v)
{
	const struct qtensor *q = s->q;
	struct groups groups;
	struct spare spare;
	words block[BLOCK_WORDS];
	floats value[BLOCK];
	struct tile tile;

	groups.at_hand = q->groups <= GROUPS_AT_HAND;
	groups.last = q->groups;
	for (uint32_t g = 0; groups.at_hand && g < q->groups; g++)
		load_group(&groups.group[g], s, g, v);
	for (uint32_t n, k = 0; k < q->in_features; k += n) {
		n = min_u32(q->in_features - k, BLOCK);
		load_block(block, s, k, v.bits);
		for (uint32_t i = 0; i < n; i++) {
			const uint32_t g = q->g_idx ? q->g_idx[k + i] : (k + i) / q->group_size;
			const struct group *group = find_group(&groups, s, g, v);
			const ints code = (ints)block_code(block, i, v);

			value[i] = (__builtin_convertvector(code, floats) - group->zero) * group->scale;
		}
		tile = n < BLOCK ? spare_tile(s, &spare) : tile_at(s, k, v.out);
		tile_transpose(&tile, value, v.out);
		if (n < BLOCK)
			spare_finish(s, k, &spare, v.out);
	}
}

ALWAYS_INLINE void run(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows, struct variant v)
{
	const size_t pitch = (size_t)q->in_features * (v.out == DTYPE_F32 ? 4 : 2);

	for (uint32_t row = 0; row < nrows; row += COLUMNS) {
		const struct strip s = {q, (char *)dst + row * pitch, row0 + row, min_u32(nrows - row, COLUMNS)};

		if (v.grouped)
			strip_grouped(&s, v);
		else
			strip_general(&s, v);
	}
}

/* --- The kernels made of this --- */

#define DEFINE_KERNEL(name, bits, planar, out)                                                        \
	static void name##_general(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows) \
	{                                                                                             \
		run(dst, q, row0, nrows, (struct variant){bits, planar, false, out});                 \
	}                                                                                             \
	static void name##_grouped(void *dst, const struct qtensor *q, uint32_t row0, uint32_t nrows) \
	{                                                                                             \
		if (q->group_size % BLOCK && q->group_size < q->in_features)                          \
			name##_general(dst, q, row0, nrows);                                          \
		else                                                                                  \
			run(dst, q, row0, nrows, (struct variant){bits, planar, true, out});          \
	}

#define DEFINE_KERNELS(name, bits, planar)                   \
	DEFINE_KERNEL(name##_f16, bits, planar, DTYPE_F16)   \
	DEFINE_KERNEL(name##_bf16, bits, planar, DTYPE_BF16) \
	DEFINE_KERNEL(name##_f32, bits, planar, DTYPE_F32)

#define KERNELS(name)                                                              \
	{                                                                          \
		{name##_f16_grouped, name##_bf16_grouped, name##_f32_grouped},     \
		    {name##_f16_general, name##_bf16_general, name##_f32_general}, \
	}

DEFINE_KERNELS(stream2, 2, false)
DEFINE_KERNELS(stream3, 3, false)
DEFINE_KERNELS(stream4, 4, false)
DEFINE_KERNELS(stream8, 8, false)
DEFINE_KERNELS(planar3, 3, true)
DEFINE_KERNELS(planar5, 5, true)
DEFINE_KERNELS(planar6, 6, true)
DEFINE_KERNELS(planar7, 7, true)

/* 2, 4 and 8 bits are one plane, and one plane is a stream. */
static const struct {
	unsigned bits;
	enum packing packing;
	dequant_fn *dequant[2][DTYPE_VIEWS];
} kernels_made[] = {
    {2, PACKING_STREAM, KERNELS(stream2)},
    {2, PACKING_PLANAR, KERNELS(stream2)},
    {3, PACKING_STREAM, KERNELS(stream3)},
    {3, PACKING_PLANAR, KERNELS(planar3)},
    {4, PACKING_STREAM, KERNELS(stream4)},
    {4, PACKING_PLANAR, KERNELS(stream4)},
    {5, PACKING_PLANAR, KERNELS(planar5)},
    {6, PACKING_PLANAR, KERNELS(planar6)},
    {7, PACKING_PLANAR, KERNELS(planar7)},
    {8, PACKING_STREAM, KERNELS(stream8)},
    {8, PACKING_PLANAR, KERNELS(stream8)},
};

#define DEFINE_CAST(name, from, to)                                                                   \
	static void name(void *dst, const void *src, size_t n)                                        \
	{                                                                                             \
		const size_t whole = n - n % COLUMNS, src_size = from == DTYPE_F32 ? 4 : 2;           \
		const size_t dst_size = to == DTYPE_F32 ? 4 : 2;                                      \
                                                                                                      \
		for (size_t i = 0; i < whole; i += COLUMNS) {                                         \
			const unsigned char *at = (const unsigned char *)src + i * src_size;          \
                                                                                                      \
			store_floats((char *)dst + i * dst_size, load_floats(at, COLUMNS, from), to); \
		}                                                                                     \
		cast_reference[from][to](                                                             \
		    (char *)dst + whole * dst_size, (const char *)src + whole * src_size, n - whole); \
	}

DEFINE_CAST(cast_f16_bf16, DTYPE_F16, DTYPE_BF16)
DEFINE_CAST(cast_f16_f32, DTYPE_F16, DTYPE_F32)
DEFINE_CAST(cast_bf16_f16, DTYPE_BF16, DTYPE_F16)
DEFINE_CAST(cast_bf16_f32, DTYPE_BF16, DTYPE_F32)
DEFINE_CAST(cast_f32_f16, DTYPE_F32, DTYPE_F16)
DEFINE_CAST(cast_f32_bf16, DTYPE_F32, DTYPE_BF16)

static void kernels_install(struct kernels *k)
{
	for (size_t i = 0; i < sizeof(kernels_made) / sizeof(*kernels_made); i++)
		memcpy(k->dequant[kernels_made[i].bits][kernels_made[i].packing], kernels_made[i].dequant,
		    sizeof(kernels_made[i].dequant));
	k->cast[DTYPE_F16][DTYPE_BF16] = cast_f16_bf16;
	k->cast[DTYPE_F16][DTYPE_F32] = cast_f16_f32;
	k->cast[DTYPE_BF16][DTYPE_F16] = cast_bf16_f16;
	k->cast[DTYPE_BF16][DTYPE_F32] = cast_bf16_f32;
	k->cast[DTYPE_F32][DTYPE_F16] = cast_f32_f16;
	k->cast[DTYPE_F32][DTYPE_BF16] = cast_f32_bf16;
}
