/* SPDX-License-Identifier: MIT */

/*
 * The part of AWQ kernels common to all instruction sets. A file awq_<isa>.c includes nibbles_<isa>.h, defines struct
 * awq_block, the codes of a tile for 32 inputs, includes this, defines the functions declared below, and calls
 * awq_install().
 *
 * A row of GEMM's qweight holds one input of all outputs, so the matrix is transposed on the way. The unit is a tile of
 * 4 words, which are 32 columns, that is 32 rows of output, by 32 inputs. Only halves of words are moved, 16 bits at a
 * time: then 32 halves in a row hold the codes of four columns for 32 inputs, and shifts and look-ups make each of them
 * a line of output. Four tiles side by side use all of a cache line of each row.
 *
 * Input and output have a page for each row, and address translation costs more than computing. So a whole line of each
 * row of qweight is read at once, and 16 lines in succession are written to each row of output.
 */

#include <string.h>

#include "kernel/awq/awq.h"
#include "kernel/element.h"
#include "kernel/simd/inline.h"
#include "kernel/simd/nibbles.h"

enum {
	AWQ_WORDS = 4,                        /* of a tile */
	AWQ_COLUMNS = AWQ_WORDS * 8,          /* of it */
	AWQ_TILES = 4,                        /* side by side */
	AWQ_LINE = AWQ_TILES * AWQ_WORDS * 4, /* bytes of a row of qweight in those tiles */
	AWQ_PIECES = 16,                      /* of NIBBLE_CODES inputs, decoded together */
};

/* Rows of a tile, AWQ_LINE bytes apart. */
ALWAYS_INLINE void awq_load(struct awq_block *to, const unsigned char *src);

/* Returns the codes of column `i` of a word's eight. `i` is constant. */
ALWAYS_INLINE nibble_codes awq_column(const struct awq_block *block, uint32_t word, unsigned i);

/* Returns the 32 codes in 16 bytes of GEMV or GEMV fast. */
ALWAYS_INLINE nibble_codes awq_row_codes(const unsigned char *src);
ALWAYS_INLINE nibble_codes awq_fast_codes(const unsigned char *src);

struct awq_job {
	const struct awq_tensor *t;
	const struct kernel_rect *r;
	char *dst;
	size_t pitch; /* bytes from one row of output to the next */
};

static uint32_t awq_min(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

typedef uint32_t awq_words8 __attribute__((vector_size(32)));
typedef int32_t awq_ints8 __attribute__((vector_size(32)));
typedef float awq_floats8 __attribute__((vector_size(32)));

/* Unpacks the zeros of word i, across columns or along a row; all are 8 if there are no words. */
static void awq_zeros(float *to, const unsigned char *words, size_t i, bool across)
{
	const awq_words8 columns = {0, 16, 4, 20, 8, 24, 12, 28}, row = {0, 4, 8, 12, 16, 20, 24, 28};
	uint32_t word = 0x88888888;
	awq_words8 fields;
	awq_floats8 zeros;

	if (words)
		memcpy(&word, words + i * 4, sizeof(word));
	fields = (((awq_words8){0} + word) >> (across ? columns : row)) & 15;
	zeros = __builtin_convertvector((awq_ints8)fields, awq_floats8);
	memcpy(to, &zeros, sizeof(zeros));
}

/* ---- GEMM ---- */

/* A tile that begins at `word` of a row; its columns [first, end) are wanted. */
struct awq_tile {
	uint32_t word;
	uint32_t first, end;
	char *dst; /* of column `first` */
};

/* Inputs of one group, at most NIBBLE_CODES. */
struct awq_piece {
	uint32_t at; /* index of the first one in the stretch */
	uint32_t count;
	uint32_t group; /* likewise */
};

/* Some inputs of tiles side by side. */
struct awq_stretch {
	uint32_t k, end;
	uint32_t group, groups; /* the groups they belong to */
	uint32_t count;         /* of pieces */
	bool whole;             /* all pieces have NIBBLE_CODES inputs */
	uintptr_t ahead;        /* the line to be prefetched next, for the next stretch */
	uint32_t each;          /* lines prefetched with each column */
	struct awq_piece pieces[AWQ_PIECES];
	struct awq_block blocks[AWQ_TILES][AWQ_PIECES];
};

/* Divides the inputs from s->end on into pieces. */
static void awq_stretch_next(struct awq_stretch *s, const struct awq_tensor *t, uint32_t end)
{
	s->k = s->end;
	s->group = s->k / t->group_size;
	s->whole = true;
	for (s->count = 0; s->count < AWQ_PIECES && s->end < end; s->count++) {
		const uint32_t left = awq_min(t->group_size - s->end % t->group_size, end - s->end);
		const uint32_t n = awq_min(left, NIBBLE_CODES);

		s->pieces[s->count] = (struct awq_piece){s->end - s->k, n, s->end / t->group_size - s->group};
		s->whole &= n == NIBBLE_CODES;
		s->end += n;
	}
	s->groups = (s->end - 1) / t->group_size - s->group + 1;
}

/* ---- from qweight to blocks ---- */

/* Some rows of qweight, as far as tiles go. */
struct awq_lines {
	unsigned char row[NIBBLE_CODES][AWQ_LINE] __attribute__((aligned(64)));
};

/* Copies `bytes` bytes, which are constant, of each of `rows` rows. */
ALWAYS_INLINE void awq_copy_rows(struct awq_lines *to, const unsigned char *src, size_t stride, uint32_t rows,
    size_t bytes)
{
	for (uint32_t i = 0; i < rows; i++)
		memcpy(to->row[i], src + i * stride, bytes);
}

static __attribute__((noinline)) void awq_copy(struct awq_lines *to, const unsigned char *src, size_t stride,
    uint32_t rows, uint32_t words)
{
	if (words == 4 * AWQ_WORDS)
		awq_copy_rows(to, src, stride, rows, 64);
	else if (words == 3 * AWQ_WORDS)
		awq_copy_rows(to, src, stride, rows, 48);
	else if (words == 2 * AWQ_WORDS)
		awq_copy_rows(to, src, stride, rows, 32);
	else if (words == AWQ_WORDS)
		awq_copy_rows(to, src, stride, rows, 16);
	else
		awq_copy_rows(to, src, stride, rows, (size_t)words * 4);
}

/*
 * Prefetches zeros and scales of group g, which are on a page of their own like each row of qweight. Prefetches the
 * line of the last bytes: if data is not aligned, the first line was read with the previous tiles.
 */
static void awq_prefetch_params(const struct awq_tensor *t, uint32_t g, uint32_t word, uint32_t words)
{
	const size_t end = (size_t)g * (t->out_features / 8) + word + words, size = element_bytes(t->scale_dtype) * 8;

	if (t->qzeros)
		__builtin_prefetch(t->qzeros + end * 4 - 1);
	for (size_t i = 0; i < words * size; i += 64)
		__builtin_prefetch(t->scales + end * size - 1 - i);
}

/*
 * Loads a stretch of `words` words of each row from `word` on. Prefetched next are the same words of the following
 * rows, or after the last row the following words of the first rows.
 */
static void awq_load_stretch(struct awq_stretch *s, const struct awq_tensor *t, uint32_t word, uint32_t words)
{
	const size_t stride = (size_t)t->out_features / 8 * 4;
	const unsigned char *src = t->qweight + s->k * stride + (size_t)word * 4;
	struct awq_lines lines = {0};

	s->ahead = (uintptr_t)src + (s->end - s->k) * stride;
	if (s->end == t->in_features)
		s->ahead = (uintptr_t)t->qweight + (word + words) * (size_t)4;
	s->ahead += words * (size_t)4 - 1;
	for (uint32_t b = 0; b < s->count; b++) {
		if (b == 0 || s->pieces[b].group != s->pieces[b - 1].group)
			awq_prefetch_params(t, s->group + s->pieces[b].group, word, words);
		awq_copy(&lines, src + s->pieces[b].at * stride, stride, s->pieces[b].count, words);
		for (uint32_t i = 0; i * AWQ_WORDS < words; i++)
			awq_load(&s->blocks[i][b], lines.row[0] + (size_t)i * AWQ_WORDS * 4);
	}
}

/* ---- from blocks to output ---- */

/* The parameters of each group of a stretch, by column. */
struct awq_params {
	float zero[AWQ_PIECES][AWQ_COLUMNS], scale[AWQ_PIECES][AWQ_COLUMNS];
};

/* What is known about a stretch of a tile. */
enum awq_shape {
	AWQ_ANY,
	AWQ_WHOLE,  /* all pieces have NIBBLE_CODES inputs, and all scales are finite */
	AWQ_SINGLE, /* and each piece is a group */
};

static bool awq_finite(const float *floats)
{
	awq_ints8 bits;
	bool finite = true;

	memcpy(&bits, floats, sizeof(bits));
	bits = (bits & 0x7f800000) == 0x7f800000;
	for (unsigned i = 0; i < 8; i++)
		finite &= !bits[i];
	return finite;
}

/* Returns true if all scales are finite. */
static bool awq_load_params(struct awq_params *p, const struct awq_tensor *t, const struct awq_stretch *s,
    const struct awq_tile *tile)
{
	bool finite = true;

	for (uint32_t g = 0; g < s->groups; g++) {
		const size_t row = (size_t)(s->group + g) * (t->out_features / 8) + tile->word;

		for (uint32_t w = tile->first / 8; w < (tile->end + 7) / 8; w++) {
			awq_zeros(&p->zero[g][w * 8], t->qzeros, row + w, true);
			nibble_load(&p->scale[g][w * 8], t->scales, (row + w) * 8, 8, t->scale_dtype);
			finite &= awq_finite(&p->scale[g][w * 8]);
		}
	}
	return finite;
}

/* Writes the lines of column `c`, which is number `i` of word `w`. */
ALWAYS_INLINE void awq_expand_column(char *dst, const struct awq_stretch *s, const struct awq_block *blocks,
    const struct awq_params *p, uint32_t w, unsigned i, enum awq_shape shape, enum dtype out)
{
	const struct nibble_kind kind = {.finite = shape != AWQ_ANY, .out = out};
	const uint32_t c = w * 8 + i, count = s->count;
	struct nibble_table table;

	for (uint32_t b = 0; b < count; b++) {
		const uint32_t g = shape == AWQ_SINGLE ? b : s->pieces[b].group;
		const uint32_t at = shape == AWQ_ANY ? s->pieces[b].at : b * NIBBLE_CODES;

		if (shape == AWQ_SINGLE || b == 0 || g != s->pieces[b - 1].group)
			nibble_table_build(&table, p->zero[g][c], p->scale[g][c], kind);
		nibble_expand(dst + at * out_bytes(out), awq_column(&blocks[b], w, i), &table,
		    shape == AWQ_ANY ? s->pieces[b].count : NIBBLE_CODES, out);
	}
}

/*
 * Prefetches lines of the next stretch while this one is computed: hardware cannot guess them, and translating their
 * addresses alone takes long. Harmless past the end of the matrix.
 */
ALWAYS_INLINE void awq_prefetch(struct awq_stretch *s, size_t stride)
{
	for (uint32_t i = 0; i < s->each; i++, s->ahead += stride)
		prefetch(s->ahead);
}

ALWAYS_INLINE void awq_expand(const struct awq_job *job, const struct awq_tile *tile, struct awq_stretch *s,
    const struct awq_block *blocks, const struct awq_params *p, enum awq_shape shape, enum dtype out)
{
	char *dst = tile->dst + (size_t)(s->k - job->r->column0) * out_bytes(out);
	const size_t stride = (size_t)job->t->out_features / 8 * 4;

	for (uint32_t w = tile->first / 8; w < (tile->end + 7) / 8; w++) {
		UNROLL
		for (unsigned i = 0; i < 8; i++) {
			if (w * 8 + i < tile->first || w * 8 + i >= tile->end)
				continue;
			awq_prefetch(s, stride);
			awq_expand_column(dst, s, blocks, p, w, i, shape, out);
			dst += job->pitch;
		}
	}
}

ALWAYS_INLINE void awq_tile_run(const struct awq_job *job, const struct awq_tile *tile, struct awq_stretch *s,
    const struct awq_block *blocks, enum dtype out)
{
	struct awq_params params;

	if (!awq_load_params(&params, job->t, s, tile) || !s->whole)
		awq_expand(job, tile, s, blocks, &params, AWQ_ANY, out);
	else if (s->groups == s->count)
		awq_expand(job, tile, s, blocks, &params, AWQ_SINGLE, out);
	else
		awq_expand(job, tile, s, blocks, &params, AWQ_WHOLE, out);
}

/* Decodes all inputs of tiles side by side, of which this many columns are wanted. */
ALWAYS_INLINE void awq_tiles_run(const struct awq_job *job, const struct awq_tile *tiles, uint32_t count,
    uint32_t columns, enum dtype out)
{
	const uint32_t end = job->r->column0 + job->r->columns;
	const uint32_t words = awq_min(count * AWQ_WORDS, job->t->out_features / 8);
	struct awq_stretch s;

	s.each = (AWQ_PIECES * NIBBLE_CODES + columns - 1) / columns;
	for (s.end = job->r->column0; s.end < end;) {
		awq_stretch_next(&s, job->t, end);
		awq_load_stretch(&s, job->t, tiles->word, words);
		for (uint32_t i = 0; i < count; i++)
			awq_tile_run(job, &tiles[i], &s, s.blocks[i], out);
	}
}

/*
 * Lays tiles side by side from row n of output on, at most AWQ_TILES. Returns how many there are, and in *next the row
 * after them. Tiles are whole: the last one ends where the row of qweight does, if that is long enough.
 */
static uint32_t awq_lay_tiles(struct awq_tile tiles[AWQ_TILES], const struct awq_job *job, uint32_t n, uint32_t *next)
{
	const uint32_t end = job->r->row0 + job->r->rows, row_words = job->t->out_features / 8;
	const uint32_t needed = (awq_min(end, n / 8 * 8 + AWQ_TILES * AWQ_COLUMNS) + 7) / 8 - n / 8;
	const uint32_t count = (needed + AWQ_WORDS - 1) / AWQ_WORDS;
	uint32_t word = n / 8;

	if (word + count * AWQ_WORDS > row_words)
		word = row_words > count * AWQ_WORDS ? row_words - count * AWQ_WORDS : 0;
	for (uint32_t i = 0; i < count; i++, word += AWQ_WORDS) {
		tiles[i].word = word;
		tiles[i].first = n - word * 8;
		tiles[i].end = awq_min(end - word * 8, AWQ_COLUMNS);
		tiles[i].dst = job->dst + (size_t)(n - job->r->row0) * job->pitch;
		n = word * 8 + tiles[i].end;
	}
	*next = n;
	return count;
}

ALWAYS_INLINE void awq_gemm(void *dst, const struct awq_tensor *t, const struct kernel_rect *r, enum dtype out)
{
	const struct awq_job job = {t, r, dst, r->columns * out_bytes(out)};
	struct awq_tile tiles[AWQ_TILES];
	uint32_t next;

	for (uint32_t n = r->row0; n < r->row0 + r->rows; n = next) {
		const uint32_t count = awq_lay_tiles(tiles, &job, n, &next);

		awq_tiles_run(&job, tiles, count, next - n, out);
	}
}

/* ---- GEMV and GEMV fast: rows are rows ---- */

/* Returns the codes of row n for 32 inputs from k on, a multiple of 32. If there are fewer, they are copied. */
ALWAYS_INLINE const unsigned char *awq_row_at(unsigned char copy[16], const struct awq_tensor *t, uint32_t n,
    uint32_t k)
{
	const size_t in = t->in_features;
	const unsigned char *at = t->qweight + n * (in / 2) + k / 2;

	if (t->layout == AWQ_GEMV_FAST)
		return t->qweight + ((size_t)(n / 4) * in + k / 64 * 64 + n % 4 * 16 + k % 64 / 4) * 2;
	if (in - k >= NIBBLE_CODES)
		return at;
	memset(copy, 0, 16);
	return memcpy(copy, at, (in - k) / 2);
}

/* Decodes inputs [k, k + count) of row n, which do not cross a multiple of 32. */
ALWAYS_INLINE void awq_row_piece(char *dst, const struct awq_tensor *t, uint32_t n, struct awq_piece piece,
    const struct nibble_table *table, enum dtype out)
{
	const uint32_t before = piece.at % NIBBLE_CODES;
	const size_t size = out_bytes(out);
	unsigned char copy[16];
	char spare[NIBBLE_CODES * sizeof(float)];
	const unsigned char *src = awq_row_at(copy, t, n, piece.at - before);
	const nibble_codes codes = t->layout == AWQ_GEMV_FAST ? awq_fast_codes(src) : awq_row_codes(src);

	if (piece.count == NIBBLE_CODES) {
		nibble_expand(dst, codes, table, NIBBLE_CODES, out);
		return;
	}
	nibble_expand(spare, codes, table, NIBBLE_CODES, out);
	memcpy(dst, spare + before * size, piece.count * size);
}

/* Decodes the rectangle's share of group g of row n. */
ALWAYS_INLINE void awq_row_group(const struct awq_job *job, uint32_t n, uint32_t g, float zero, float scale,
    enum dtype out)
{
	const struct awq_tensor *t = job->t;
	const uint64_t begin = (uint64_t)g * t->group_size, next = begin + t->group_size;
	const uint32_t column0 = job->r->column0, last = column0 + job->r->columns;
	const uint32_t end = next < last ? (uint32_t)next : last;
	char *dst = job->dst + (n - job->r->row0) * job->pitch;
	struct awq_piece piece = {begin > column0 ? (uint32_t)begin : column0, 0, g};
	struct nibble_table table;

	nibble_table_build(&table, zero, scale, (struct nibble_kind){.plus = t->layout == AWQ_GEMV_FAST, .out = out});
	for (; piece.at < end; piece.at += piece.count) {
		piece.count = awq_min(NIBBLE_CODES - piece.at % NIBBLE_CODES, end - piece.at);
		awq_row_piece(dst + (size_t)(piece.at - column0) * out_bytes(out), t, n, piece, &table, out);
	}
}

ALWAYS_INLINE void awq_gemv(void *dst, const struct awq_tensor *t, const struct kernel_rect *r, enum dtype out)
{
	const struct awq_job job = {t, r, dst, r->columns * out_bytes(out)};
	const uint32_t first = r->column0 / t->group_size, last = (r->column0 + r->columns - 1) / t->group_size;
	float zero[NIBBLE_RUN], scale[NIBBLE_RUN];

	for (uint32_t n = r->row0; n < r->row0 + r->rows; n++)
		for (uint32_t g = first; g <= last; g++) {
			if (g == first || g % NIBBLE_RUN == 0) {
				const size_t run = (size_t)n * (t->slots / 8) + g / 8;

				awq_zeros(zero, t->qzeros, run, false);
				nibble_load(scale, t->scales, run * 8, 8, t->scale_dtype);
			}
			awq_row_group(&job, n, g, zero[g % 8], scale[g % 8], out);
		}
}

/* Rows [n, n + rows), at most NIBBLE_RUN, of groups [first, last], at most AWQ_PIECES. */
ALWAYS_INLINE void awq_fast_groups(const struct awq_job *job, uint32_t n, uint32_t rows, uint32_t first, uint32_t last,
    enum dtype out)
{
	const struct awq_tensor *t = job->t;
	float zero[AWQ_PIECES][NIBBLE_RUN], scale[AWQ_PIECES][NIBBLE_RUN];

	for (uint32_t g = first; g <= last; g++) {
		nibble_load(zero[g - first], t->qzeros, (size_t)g * t->out_features + n, rows, t->scale_dtype);
		nibble_load(scale[g - first], t->scales, (size_t)g * t->out_features + n, rows, t->scale_dtype);
	}
	for (uint32_t i = 0; i < rows; i++)
		for (uint32_t g = first; g <= last; g++)
			awq_row_group(job, n + i, g, zero[g - first][i], scale[g - first][i], out);
}

ALWAYS_INLINE void awq_fast(void *dst, const struct awq_tensor *t, const struct kernel_rect *r, enum dtype out)
{
	const struct awq_job job = {t, r, dst, r->columns * out_bytes(out)};
	const uint32_t first = r->column0 / t->group_size, last = (r->column0 + r->columns - 1) / t->group_size;
	const uint32_t end = r->row0 + r->rows;

	for (uint32_t n = r->row0; n < end; n += NIBBLE_RUN)
		for (uint32_t g = first; g <= last; g += AWQ_PIECES)
			awq_fast_groups(&job, n, awq_min(end - n, NIBBLE_RUN), g, awq_min(last, g + AWQ_PIECES - 1),
			    out);
}

/* ---- the kernels ---- */

#define DEFINE_AWQ(name, run, out)                                                           \
	static void name(void *dst, const struct awq_tensor *t, const struct kernel_rect *r) \
	{                                                                                    \
		run(dst, t, r, out);                                                         \
	}

DEFINE_AWQ(awq_gemm_f16, awq_gemm, DTYPE_F16)
DEFINE_AWQ(awq_gemm_bf16, awq_gemm, DTYPE_BF16)
DEFINE_AWQ(awq_gemm_f32, awq_gemm, DTYPE_F32)
DEFINE_AWQ(awq_gemv_f16, awq_gemv, DTYPE_F16)
DEFINE_AWQ(awq_gemv_bf16, awq_gemv, DTYPE_BF16)
DEFINE_AWQ(awq_gemv_f32, awq_gemv, DTYPE_F32)
DEFINE_AWQ(awq_fast_f16, awq_fast, DTYPE_F16)
DEFINE_AWQ(awq_fast_bf16, awq_fast, DTYPE_BF16)
DEFINE_AWQ(awq_fast_f32, awq_fast, DTYPE_F32)

static void awq_install(struct awq_dsp *dsp)
{
	static awq_fn *const rows[AWQ_LAYOUTS][DTYPE_VIEWS] = {
	    [AWQ_GEMM] = {awq_gemm_f16, awq_gemm_bf16, awq_gemm_f32},
	    [AWQ_GEMV] = {awq_gemv_f16, awq_gemv_bf16, awq_gemv_f32},
	    [AWQ_GEMV_FAST] = {awq_fast_f16, awq_fast_bf16, awq_fast_f32},
	};

	memcpy(dsp->rows, rows, sizeof(rows));
}
