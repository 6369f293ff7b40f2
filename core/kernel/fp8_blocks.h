/* SPDX-License-Identifier: MIT */

/*
 * The part of an FP8 kernel that is the same for every instruction set. A file fp8_<isa>.c includes this, defines
 * fp8_decode(), and calls fp8_install().
 *
 * Rows of codes and of output are contiguous, so nothing is transposed and no table is built: codes are widened by
 * arithmetic, multiplied and rounded. The scales of a row of blocks are made floats once for all rows of it: one for
 * each block, or, where blocks are narrower than a vector of codes, one for each column.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/cast.h"
#include "kernel/element.h"
#include "kernel/fp8.h"
#include "kernel/inline.h"

enum {
	FP8_SCALES = 512, /* at hand at a time */
	FP8_NARROW = 32,  /* blocks of fewer columns have their scales repeated for each column */
};

/*
 * What a kernel is made for. As fp16, the bits of an E4M3 code mean 2^-8 of its value, subnormals included; `plain`
 * kernels are for E4M3 codes and scales that were multiplied by 2^8 instead, which is exact: no scale overflows by it,
 * and the product is the same before it is rounded. Their outputs are NaN where codes are, and nowhere else.
 */
struct fp8_variant {
	enum dtype code, out;
	bool divide;
	bool each; /* every code has a scale of its own */
	bool plain;
};

#define FP8_FOLDED 256.0f

/* Decodes n codes. `scales` is one scale, or n of them. */
ALWAYS_INLINE void fp8_decode(char *dst, const unsigned char *codes, size_t n, const float *scales,
    struct fp8_variant v);

/* Some columns of rows that share a row of blocks, and the scales of those columns. */
struct fp8_part {
	const struct fp8_tensor *t;
	const unsigned char *codes;
	char *dst;
	size_t pitch; /* bytes from one row of output to the next */
	uint32_t rows;
	uint32_t column0, columns;
	struct fp8_variant variant;
	float scale[FP8_SCALES];
};

/* True if the scale can be multiplied by 2^8. */
static bool fp8_folds(float scale)
{
	return (bits_of_float(scale) & 0x7fffffff) < 0x7b800000; /* 2^120 */
}

/* Fills in the scales, of `row` and the part's columns, and whether kernels can be plain. */
static __attribute__((noinline)) void fp8_load_scales(struct fp8_part *p, uint32_t row)
{
	const struct fp8_tensor *t = p->t;
	const size_t grid_columns = (t->columns - 1) / t->block_columns + 1;
	const size_t grid_row = row / t->block_rows * grid_columns;
	const uint32_t first = p->column0 / t->block_columns, last = (p->column0 + p->columns - 1) / t->block_columns;
	const uint32_t count = p->variant.each ? p->columns : last - first + 1;
	bool plain = t->code_dtype == DTYPE_F8_E4M3 && !t->divide && !p->variant.each;

	for (uint32_t i = 0; i < count; i++) {
		const uint32_t block = p->variant.each ? (p->column0 + i) / t->block_columns : first + i;

		p->scale[i] = element_load(t->scales, grid_row + block, t->scale_dtype);
		plain = plain && fp8_folds(p->scale[i]);
	}
	for (uint32_t i = 0; plain && i < count; i++)
		p->scale[i] *= FP8_FOLDED;
	p->variant.plain = plain;
}

ALWAYS_INLINE void fp8_row(char *dst, const unsigned char *codes, const struct fp8_part *p, struct fp8_variant v)
{
	const uint32_t width = p->t->block_columns;
	const float *scale = p->scale;
	uint32_t n = width - p->column0 % width;

	if (v.each) {
		fp8_decode(dst, codes, p->columns, scale, v);
		return;
	}
	for (uint32_t done = 0; done < p->columns; done += n, n = width) {
		n = n < p->columns - done ? n : p->columns - done;
		fp8_decode(dst + (size_t)done * dtype_bytes(v.out), codes + done, n, scale++, v);
	}
}

ALWAYS_INLINE void fp8_part_decode(const struct fp8_part *p, struct fp8_variant v)
{
	for (uint32_t i = 0; i < p->rows; i++)
		fp8_row(p->dst + i * p->pitch, p->codes + (size_t)i * p->t->columns, p, v);
}

/* As many columns of the rectangle from `column` on as there is room for scales. */
static uint32_t fp8_part_columns(const struct fp8_tensor *t, const struct kernel_rect *r, uint32_t column)
{
	const uint32_t left = r->column0 + r->columns - column;
	uint64_t room = FP8_SCALES;

	if (t->block_columns >= FP8_NARROW)
		room = room * t->block_columns - column % t->block_columns;
	return left < room ? left : (uint32_t)room;
}

ALWAYS_INLINE void fp8_run(void *dst, const struct fp8_tensor *t, const struct kernel_rect *r, enum dtype out)
{
	const struct fp8_variant plain = {.code = DTYPE_F8_E4M3, .out = out, .plain = true};
	const struct fp8_variant any = {t->code_dtype, out, t->divide, t->block_columns < FP8_NARROW, false};
	const size_t size = out == DTYPE_F32 ? 4 : 2;
	struct fp8_part p = {.t = t, .pitch = r->columns * size, .variant = any};

	for (uint32_t done = 0, left; (left = r->rows - done); done += p.rows) {
		const uint32_t row = r->row0 + done, same = t->block_rows - row % t->block_rows;

		p.rows = left < same ? left : same;
		for (uint32_t i = 0; i < r->columns; i += p.columns) {
			p.column0 = r->column0 + i;
			p.columns = fp8_part_columns(t, r, p.column0);
			p.codes = t->codes + (size_t)row * t->columns + p.column0;
			p.dst = (char *)dst + done * p.pitch + i * size;
			fp8_load_scales(&p, row);
			if (p.variant.plain)
				fp8_part_decode(&p, plain);
			else
				fp8_part_decode(&p, any);
		}
	}
}

ALWAYS_INLINE void fp8_cast(void *dst, const void *src, size_t n, enum dtype from, enum dtype out)
{
	const struct fp8_variant v = {.code = from, .out = out, .plain = from == DTYPE_F8_E4M3};
	const float scale = from == DTYPE_F8_E4M3 ? FP8_FOLDED : 1;

	fp8_decode(dst, src, n, &scale, v);
}

#define DEFINE_FP8(out, type)                                                                        \
	static void fp8_to_##out(void *dst, const struct fp8_tensor *t, const struct kernel_rect *r) \
	{                                                                                            \
		fp8_run(dst, t, r, type);                                                            \
	}                                                                                            \
	static void e4m3_to_##out(void *dst, const void *src, size_t n)                              \
	{                                                                                            \
		fp8_cast(dst, src, n, DTYPE_F8_E4M3, type);                                          \
	}                                                                                            \
	static void e5m2_to_##out(void *dst, const void *src, size_t n)                              \
	{                                                                                            \
		fp8_cast(dst, src, n, DTYPE_F8_E5M2, type);                                          \
	}

DEFINE_FP8(f16, DTYPE_F16)
DEFINE_FP8(bf16, DTYPE_BF16)
DEFINE_FP8(f32, DTYPE_F32)

static void fp8_install(struct fp8_dsp *dsp)
{
	static fp8_fn *const rows[DTYPE_VIEWS] = {fp8_to_f16, fp8_to_bf16, fp8_to_f32};

	memcpy(dsp->rows, rows, sizeof(rows));
}

static void fp8_cast_install(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS])
{
	static cast_fn *const e4m3[DTYPE_VIEWS] = {e4m3_to_f16, e4m3_to_bf16, e4m3_to_f32};
	static cast_fn *const e5m2[DTYPE_VIEWS] = {e5m2_to_f16, e5m2_to_bf16, e5m2_to_f32};

	memcpy(cast[DTYPE_F8_E4M3], e4m3, sizeof(e4m3));
	memcpy(cast[DTYPE_F8_E5M2], e5m2, sizeof(e5m2));
}
