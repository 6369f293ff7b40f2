/* SPDX-License-Identifier: MIT */

/*
 * The part of GPTQ kernels common to all instruction sets. A file gptq_<isa>.c defines COLUMNS, struct tables, struct
 * codes and struct values, includes this, defines the functions declared below, and calls gptq_install() and
 * cast_install().
 *
 * The unit of work is a strip of COLUMNS columns of qweight, that is COLUMNS rows of output. Neighbouring columns are
 * adjacent in memory: one vector load gets the words of all of them, and with 16 columns no byte of a cache line is
 * wasted. Along K the unit is a block of 32 codes, which take `bits` words in every layout and make one or two whole
 * cache lines of each output row. Adjacent strips are decoded group by group, so that the cache lines of a row of
 * qweight are used in succession: another row is in another page, and in another row of DRAM.
 *
 * The parts, each of which uses only those above it:
 *
 *   gptq_strip_load.h     a block of codes, from any packing. A new packing replaces only this one.
 *   gptq_strip_groups.h   zeros and scales of a group
 *   gptq_strip_grouped.h  whole groups: the few possible values in a (column, group) are computed by
 *                         the formula once, and codes then index that table. This is bit-exact for any scale and saves
 *                         most of the rounding. If a table would have more than 32 entries, the formula is computed for
 *                         every code.
 *   gptq_strip_general.h  any g_idx, any group size: the formula for one k of all columns, then a transposition
 *   gptq_strip_inputs.h   the packed orientation, with a row for each k
 *   gptq_strip_kernels.h  the kernels made of these
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel/cast.h"
#include "kernel/gptq/gptq.h"
#include "kernel/simd/inline.h"

enum {
	BLOCK = 32,                             /* codes of a column decoded together */
	BLOCK_WORDS = 8,                        /* most words they take */
	BLOCKS_AT_ONCE = 4,                     /* see tile_expand() */
	STRIPS = 128 / COLUMNS,                 /* strips decoded side by side */
	GROUPS_AT_HAND = 512,                   /* groups whose parameters are expanded once per strip */
	PLANES_MAX = 3,                         /* most parts of a field */
	PREFETCH_ROWS = COLUMNS < 16 ? 16 : 24, /* rows of qweight are too far apart for the hardware prefetcher */
};

/* One element per column of a strip. */
typedef uint32_t words __attribute__((vector_size(COLUMNS * 4)));
typedef int32_t ints __attribute__((vector_size(COLUMNS * 4)));
typedef float floats __attribute__((vector_size(COLUMNS * 4)));

/* The form in which codes_build() receives a block. */
enum form {
	STREAM, /* its words, of 2, 3 or 4 bits */
	PLANES, /* its words, of 3, 5, 6 or 7 bits; only if the instruction set has kernels for them */
	BYTES,  /* a byte per code, for any format: one kernel suffices, with variable `bits` */
};

/*
 * Constants of a kernel: the compiler specializes the same functions for each. Legal combinations:
 *
 *     form    bits        grouped        several          out
 *     STREAM  2, 3        true           either           any
 *     STREAM  4           either         where grouped    any
 *     PLANES  3, 5, 6, 7  true           either           any
 *     BYTES   q->bits     either         where grouped    any
 *
 * `finite` is not a choice: kernels set it after checking.
 */
struct variant {
	unsigned bits;
	enum form form;
	bool grouped; /* groups are whole blocks */
	bool several; /* groups in a batch */
	bool finite;  /* no scale of the strip or batch is inf or NaN, so outputs need no check for NaN */
	enum dtype out;
};

/* The position of the columns' fields in the words of a row of qzeros, in parts. */
struct field {
	words index;
	words shift;
};

/* The columns [n0, n0 + columns) of a matrix and the output of the first one. */
struct strip {
	const struct qtensor *q;
	char *dst;
	uint32_t n0;
	uint32_t columns;   /* 1 to COLUMNS */
	uint32_t together;  /* groups loaded in succession */
	uint32_t zero_word; /* the words of a row of qzeros that concern them: first and number */
	uint32_t zero_words;
	struct field field[PLANES_MAX];
};

/* The destination of a block: 32 elements per column, `pitch` bytes apart. */
struct tile {
	char *dst;
	size_t pitch;
	uint32_t columns;
};

/* A group, or several that make up BLOCKS_AT_ONCE blocks, expanded together. */
struct batch {
	uint64_t k0, k1;
	struct tables tables[BLOCKS_AT_ONCE]; /* of each group */
	unsigned shift;                       /* several groups: tables i >> shift belong to block i */
};

/* Zeros and scales of one group for the columns of a strip. Missing columns have some finite value. */
struct group {
	floats zero;
	floats scale;
};

/* Each instruction set must define the following. Loads read exactly n elements (1 to COLUMNS). */
ALWAYS_INLINE words load_words(const unsigned char *src, uint32_t n);
ALWAYS_INLINE floats load_floats(const unsigned char *src, uint32_t n, enum dtype dtype);
ALWAYS_INLINE void store_floats(char *dst, floats value, enum dtype dtype);
ALWAYS_INLINE void tables_build(struct tables *tables, const struct group *group, uint32_t columns, struct variant v);

/* True if a table holds the outputs of all codes. */
ALWAYS_INLINE bool has_table(struct variant v);

/* Convert a block to the form that column_expand() reads, and that to the outputs of column c. */
ALWAYS_INLINE void codes_build(struct codes *codes, const words *block, struct variant v);
ALWAYS_INLINE void column_expand(char *dst, const struct codes *codes, const struct tables *tables, uint32_t c,
    struct variant v);

/* Return one fp32 output per column, or two of 16 bits, with a in the lower half. */
ALWAYS_INLINE words round32(floats value, struct variant v);
ALWAYS_INLINE words round_pair(floats a, floats b, struct variant v);

/*
 * Collect vectors of outputs, four bytes of each column, for tile_finish(); part i is four of them. Then write them to
 * the tile: 1 to BLOCKS_AT_ONCE blocks of `parts` parts, as in tile_expand().
 */
ALWAYS_INLINE void values_put(struct values *values, unsigned i, const words value[4]);
ALWAYS_INLINE void tile_finish(const struct tile *tile, const struct values *values, uint32_t blocks, unsigned parts);

/* Element c of the result is word index[c] of a row of n words, of which the strip's columns need a few. */
ALWAYS_INLINE words pick_words(const unsigned char *row, uint32_t n, words index);

/* --- What the parts share --- */

ALWAYS_INLINE uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Room for blocks that do not go to the output directly. */
struct spare {
	char bytes[COLUMNS][BLOCKS_AT_ONCE * BLOCK * sizeof(float)] __attribute__((aligned(64)));
};

ALWAYS_INLINE struct tile tile_at(const struct strip *s, uint32_t k, enum dtype out)
{
	return (struct tile){s->dst + k * out_bytes(out), s->q->in_features * out_bytes(out), s->columns};
}

ALWAYS_INLINE struct tile spare_tile(const struct strip *s, struct spare *spare)
{
	return (struct tile){spare->bytes[0], sizeof(spare->bytes[0]), s->columns};
}

/* Copies `bytes` bytes of each column from the spare room. */
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

#include "kernel/gptq/gptq_strip_load.h"

#include "kernel/gptq/gptq_strip_groups.h"

#include "kernel/gptq/gptq_strip_grouped.h"

#include "kernel/gptq/gptq_strip_general.h"

#include "kernel/gptq/gptq_strip_inputs.h"

#include "kernel/gptq/gptq_strip_kernels.h"
