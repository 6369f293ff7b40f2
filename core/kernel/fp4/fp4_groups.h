/* SPDX-License-Identifier: MIT */

/*
 * The part of MXFP4 and NVFP4 kernels common to all instruction sets. A file fp4_<isa>.c defines struct fp4_outputs,
 * includes this, defines the functions that are declared below, and calls fp4_install().
 *
 * With 256 scales and 16 codes, all outputs that a matrix can have are computed once, 16 for each scale, and codes are
 * only looked up. MXFP6 has too many codes for that: they are converted to floats by arithmetic and multiplied.
 *
 * Transposed output is decoded in tiles, which are transposed in registers: picking single codes would touch a page for
 * each.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "kernel/element.h"
#include "kernel/fp4/fp4.h"
#include "kernel/simd/inline.h"

enum {
	FP4_UNIT = 32, /* codes that are decoded at a time */
	FP4_TILE = 32, /* rows and columns; a line of 16-bit output */
};

/* The outputs of the 16 codes: value times scale, rounded. */
ALWAYS_INLINE struct fp4_outputs fp4_outputs_of(float scale, enum dtype out);

/* Looks up FP4_UNIT codes, which are 16 bytes: all, or the first half of them if there is a `second`. */
ALWAYS_INLINE void fp4_look_up(char *dst, const unsigned char *codes, const struct fp4_outputs *first,
    const struct fp4_outputs *second, enum dtype out);

/*
 * Decodes FP4_UNIT codes of 6 bits, which are 24 bytes. `scale` is a power of two or the canonical NaN: products are
 * exact in bf16 too, and none is another NaN.
 */
ALWAYS_INLINE void fp6_decode_unit(char *dst, const unsigned char *codes, float scale, enum dtype out);

/*
 * Transposes squares of 16 bytes by 16 / size rows that lie side by side in FP4_TILE columns, FP4_LANES of them at a
 * time. Vectors are stored whole: see fp4_piece().
 */
ALWAYS_INLINE void fp4_transpose_squares(char *pieces, const char *rows, enum dtype out);

struct fp4_decoder {
	const struct fp4_tensor *t;
	float scale[256]; /* what each byte of t->scales means */
	struct fp4_outputs outputs[256];
};

static __attribute__((noinline)) void fp4_load_scales(const struct fp4_tensor *t, float scale[256])
{
	const float global = t->global ? element_load(t->global, 0, DTYPE_F32) : 1;

	for (unsigned i = 0; i < 256; i++)
		scale[i] = t->scale_dtype == DTYPE_F8_E8M0 ? float_of_e8m0((uint8_t)i) : float_of_e4m3((uint8_t)i);
	for (unsigned i = 0; i < 256; i++)
		scale[i] = t->divide ? scale[i] / global : scale[i] * global;
}

ALWAYS_INLINE void fp4_prepare(struct fp4_decoder *d, const struct fp4_tensor *t, enum dtype out)
{
	d->t = t;
	fp4_load_scales(t, d->scale);
	for (unsigned i = 0; i < 256 && t->code_dtype == DTYPE_F4; i++)
		d->outputs[i] = fp4_outputs_of(d->scale[i], out);
}

/* ---- rows ---- */

/* Decodes whole groups of one row. If they have 16 codes, the last one may be alone in its unit. */
ALWAYS_INLINE void fp4_decode(char *dst, const struct fp4_decoder *d, const unsigned char *codes,
    const unsigned char *scales, uint32_t columns, enum dtype out)
{
	const size_t size = out_bytes(out);
	uint32_t k = 0;

	if (d->t->group == FP4_UNIT) {
		for (; k < columns; k += FP4_UNIT, scales++)
			fp4_look_up(dst + k * size, codes + k / 2, &d->outputs[*scales], NULL, out);
		return;
	}
	for (; k + FP4_UNIT <= columns; k += FP4_UNIT, scales += 2)
		fp4_look_up(dst + k * size, codes + k / 2, &d->outputs[scales[0]], &d->outputs[scales[1]], out);
	if (k < columns) {
		unsigned char last[FP4_UNIT / 2] = {0};
		char both[FP4_UNIT * 4];

		memcpy(last, codes + k / 2, FP4_UNIT / 4);
		fp4_look_up(both, last, &d->outputs[*scales], NULL, out);
		memcpy(dst + k * size, both, FP4_UNIT / 2 * size);
	}
}

/* Four codes in each three bytes. */
ALWAYS_INLINE void fp6_decode(char *dst, const struct fp4_decoder *d, const unsigned char *codes,
    const unsigned char *scales, uint32_t columns, enum dtype out)
{
	for (uint32_t k = 0; k < columns; k += FP4_UNIT, codes += FP4_UNIT / 4 * 3)
		fp6_decode_unit(dst + k * out_bytes(out), codes, d->scale[*scales++], out);
}

/* Decodes columns of one row: whole groups. */
ALWAYS_INLINE void fp4_decode_row(char *dst, const struct fp4_decoder *d, size_t row, uint32_t column, uint32_t columns,
    enum dtype out)
{
	const struct fp4_tensor *t = d->t;
	const size_t first = row * t->columns + column;

	if (t->code_dtype == DTYPE_F4)
		fp4_decode(dst, d, t->codes + first / 2, t->scales + first / t->group, columns, out);
	else
		fp6_decode(dst, d, t->codes + first / 4 * 3, t->scales + first / t->group, columns, out);
}

ALWAYS_INLINE void fp4_fill_rows(void *dst, const struct fp4_tensor *t, const struct kernel_rect *r, enum dtype out)
{
	const size_t pitch = r->columns * out_bytes(out);
	struct fp4_decoder d;

	fp4_prepare(&d, t, out);
	for (uint32_t i = 0; i < r->rows; i++)
		fp4_decode_row((char *)dst + i * pitch, &d, r->row0 + i, r->column0, r->columns, out);
}

/* ---- transposed ---- */

/* Returns where the pieces of a column are among those of `side` rows. */
ALWAYS_INLINE size_t fp4_piece(uint32_t column, uint32_t side)
{
	const uint32_t vector = column / (side * FP4_LANES), lane = column / side % FP4_LANES;

	return ((vector * side + column % side) * FP4_LANES + lane) * (size_t)16;
}

/*
 * Transposes a tile, [FP4_TILE][FP4_TILE] elements: writes its columns [first, end) as lines, `pitch` bytes from one to
 * the next.
 */
ALWAYS_INLINE void fp4_transpose(char *dst, size_t pitch, const char *tile, uint32_t first, uint32_t end,
    enum dtype out)
{
	const uint32_t side = 16 / (uint32_t)out_bytes(out);
	const size_t band = side * FP4_TILE * out_bytes(out); /* bytes of `side` rows, and of their pieces */
	char pieces[FP4_TILE * FP4_TILE * 4] __attribute__((aligned(64)));

	for (uint32_t i = 0; i < FP4_TILE / side; i++)
		fp4_transpose_squares(pieces + i * band, tile + i * band, out);
	for (uint32_t column = first; column < end; column++, dst += pitch) {
		const char *from = pieces + fp4_piece(column, side);

		UNROLL
		for (uint32_t i = 0; i < FP4_TILE / side; i++)
			memcpy(dst + i * 16, from + i * band, 16);
	}
}

/* Transposes up to FP4_TILE stored rows from `row` on: those of their columns that are rows of the rectangle. */
ALWAYS_INLINE void fp4_transpose_rows(char *dst, const struct fp4_decoder *d, const struct kernel_rect *r, uint32_t row,
    enum dtype out)
{
	const uint32_t end = r->row0 + r->rows, left = r->column0 + r->columns - row;
	const uint32_t rows = left < FP4_TILE ? left : FP4_TILE;
	const size_t size = out_bytes(out), pitch = r->columns * size, line = FP4_TILE * size;
	char tile[FP4_TILE * FP4_TILE * 4] __attribute__((aligned(64)));
	char transposed[FP4_TILE * FP4_TILE * 4] __attribute__((aligned(64)));

	for (uint32_t column = r->row0 / FP4_TILE * FP4_TILE, next; column < end; column = next) {
		const uint32_t there = d->t->columns - column;
		const uint32_t columns = there < FP4_TILE ? there : FP4_TILE;
		const uint32_t from = column < r->row0 ? r->row0 - column : 0;
		const uint32_t to = end - column < columns ? end - column : columns;
		char *at = dst + (column + from - r->row0) * pitch + (row - r->column0) * size;

		next = column + columns;
		for (uint32_t i = 0; i < rows; i++)
			fp4_decode_row(tile + i * line, d, row + i, column, columns, out);
		if (rows == FP4_TILE) {
			fp4_transpose(at, pitch, tile, from, to, out);
			continue;
		}
		fp4_transpose(transposed, line, tile, from, to, out);
		for (uint32_t i = 0; i < to - from; i++)
			memcpy(at + i * pitch, transposed + i * line, rows * size);
	}
}

/* Prefetches the next row: rows are too far apart for the hardware. */
ALWAYS_INLINE void fp4_prefetch(const struct fp4_tensor *t, const struct kernel_rect *r, uint32_t row, uint32_t end)
{
	const unsigned bits = dtype_bits(t->code_dtype);
	const size_t pitch = t->columns / 8 * bits, scales = t->columns / t->group;
	const unsigned char *first = t->codes + row * pitch + r->row0 / 8 * bits;
	const unsigned char *last = t->codes + row * pitch + (r->row0 + r->rows - 1) / 8 * bits;

	for (uint32_t i = 0; i < FP4_TILE && row + i < end; i++) {
		__builtin_prefetch(first + i * pitch);
		__builtin_prefetch(last + i * pitch);
		__builtin_prefetch(t->scales + (row + i) * scales + r->row0 / t->group);
	}
}

ALWAYS_INLINE void fp4_fill_transposed(void *dst, const struct fp4_tensor *t, const struct kernel_rect *r,
    enum dtype out)
{
	const uint32_t end = r->column0 + r->columns;
	struct fp4_decoder d;

	fp4_prepare(&d, t, out);
	for (uint32_t row = r->column0; row < end; row = end - row < FP4_TILE ? end : row + FP4_TILE) {
		fp4_prefetch(t, r, row + FP4_TILE, end);
		fp4_transpose_rows(dst, &d, r, row, out);
	}
}

#define DEFINE_FP4_TO(out, type)                                                                                \
	static void fp4_to_##out(void *dst, const struct fp4_tensor *t, const struct kernel_rect *r)            \
	{                                                                                                       \
		fp4_fill_rows(dst, t, r, type);                                                                 \
	}                                                                                                       \
	static void fp4_transposed_to_##out(void *dst, const struct fp4_tensor *t, const struct kernel_rect *r) \
	{                                                                                                       \
		fp4_fill_transposed(dst, t, r, type);                                                           \
	}

DEFINE_FP4_TO(f16, DTYPE_F16)
DEFINE_FP4_TO(bf16, DTYPE_BF16)
DEFINE_FP4_TO(f32, DTYPE_F32)

static void fp4_install(struct fp4_dsp *dsp)
{
	static const struct fp4_dsp kernels = {
	    .rows = {fp4_to_f16, fp4_to_bf16, fp4_to_f32},
	    .transposed = {fp4_transposed_to_f16, fp4_transposed_to_bf16, fp4_transposed_to_f32},
	};

	*dsp = kernels;
}
