/* SPDX-License-Identifier: MIT */

/*
 * The part of FP8 kernels common to all instruction sets. A file fp8_<isa>.c defines FP8_LANES, the floats per
 * register, includes this, defines fp8_decode(), and calls fp8_install().
 *
 * Rows of codes and of output are contiguous, so nothing is transposed and no table is needed: codes are widened by
 * arithmetic, multiplied and rounded. The scales of a row of blocks are converted to float once for all its rows: one
 * per block or, if blocks are narrower than a vector of codes, one per column.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/cast.h"
#include "kernel/element.h"
#include "kernel/fp8/fp8.h"
#include "kernel/simd/inline.h"

enum {
	FP8_SCALES = 4096, /* floats kept at a time: reading shorter pieces of rows from memory is slow */
	FP8_NARROW = 32,   /* narrower blocks get their scale repeated for each column */
};

/*
 * Constants of a kernel. The bits of an E4M3 code, taken as fp16, mean 2^-8 of its value, subnormals included. `plain`
 * kernels use those, with scales multiplied by 2^8 (by 2^-8 if they divide), used only if that is exact: the result
 * before rounding is the same. Their outputs are NaN only where codes are.
 */
struct fp8_variant {
	enum dtype code, out;
	bool divide;
	bool each; /* each code has its own scale */
	bool plain;
};

#define FP8_FOLDED 256.0f

/* Decodes n codes. `scales` is one scale, or n of them. */
ALWAYS_INLINE void fp8_decode(char *dst, const unsigned char *codes, size_t n, const float *scales,
    struct fp8_variant v);

/* Some columns of the rows of one row of blocks, and the scales of these columns. */
struct fp8_part {
	const struct fp8_tensor *t;
	const unsigned char *codes;
	char *dst;
	size_t pitch; /* bytes between rows of output */
	uint32_t rows;
	uint32_t column0, columns;
	struct fp8_variant variant;
	float scale[FP8_SCALES];
};

/* ---- scales ---- */

typedef uint32_t lanes32 __attribute__((vector_size(4 * FP8_LANES)));
typedef int32_t lanes_signed __attribute__((vector_size(4 * FP8_LANES)));
typedef float lanes_float __attribute__((vector_size(4 * FP8_LANES)));
typedef uint16_t lanes16 __attribute__((vector_size(2 * FP8_LANES)));
typedef uint8_t lanes8 __attribute__((vector_size(FP8_LANES)));

/* Loads FP8_LANES scales. NaN stays NaN, but not always the canonical one. */
ALWAYS_INLINE lanes32 fp8_load_some(const unsigned char *from, enum dtype dtype)
{
	lanes32 word;
	lanes16 half;
	lanes8 byte;

	if (dtype == DTYPE_F32) {
		memcpy(&word, from, sizeof(word));
		return word;
	}
	if (dtype == DTYPE_F8_E8M0) {
		memcpy(&byte, from, sizeof(byte));
		word = __builtin_convertvector(byte, lanes32);
		/* 0 is a subnormal and 255 a NaN: both have the highest bit of the mantissa. */
		return word << 23 | ((lanes32)((word == 0) | (word == 255)) & 0x400000);
	}
	memcpy(&half, from, sizeof(half));
	word = __builtin_convertvector(half, lanes32);
	if (dtype == DTYPE_BF16)
		return word << 16;
	/* By multiplication, which makes subnormals normal; inf and NaN keep their exponent of ones. */
	const lanes32 magnitude = (word & 0x7fff) << 13, ones = (lanes32)(magnitude >= 0x0f800000) & 0x7f800000;

	return (word & 0x8000) << 16 | (lanes32)((lanes_float)magnitude * 0x1p112f) | ones;
}

ALWAYS_INLINE void fp8_load_type(float *to, const unsigned char *from, size_t n, enum dtype dtype)
{
	size_t i = 0;

	for (; i + FP8_LANES <= n; i += FP8_LANES) {
		const lanes32 some = fp8_load_some(from + i * element_bytes(dtype), dtype);

		memcpy(to + i, &some, sizeof(some));
	}
	for (; i < n; i++)
		to[i] = element_load(from, i, dtype);
}

static void fp8_load_floats(float *to, const unsigned char *from, size_t n, enum dtype dtype)
{
	if (dtype == DTYPE_F32)
		fp8_load_type(to, from, n, DTYPE_F32);
	else if (dtype == DTYPE_F8_E8M0)
		fp8_load_type(to, from, n, DTYPE_F8_E8M0);
	else if (dtype == DTYPE_BF16)
		fp8_load_type(to, from, n, DTYPE_BF16);
	else
		fp8_load_type(to, from, n, DTYPE_F16);
}

/*
 * Multiplies all by 2^8, or 2^-8 if they divide; false, with nothing changed, if one of them is out of bounds: too
 * large, or, if they divide, too small or inf. NaN always is.
 */
static bool fp8_fold(float *scales, size_t n, bool divide)
{
	const int32_t least = divide ? 0x04800000 : 0,
		      most = divide ? 0x7f7fffff : 0x7b7fffff; /* 2^-118, below 2^120 */
	const float factor = divide ? 1 / FP8_FOLDED : FP8_FOLDED;
	lanes_signed beyond = {0};
	bool fits = true;
	size_t i = 0;

	for (; i + FP8_LANES <= n; i += FP8_LANES) {
		lanes_signed some;

		memcpy(&some, scales + i, sizeof(some));
		some &= 0x7fffffff;
		beyond |= (some < least) | (some > most);
	}
	for (unsigned k = 0; k < FP8_LANES; k++)
		fits &= !beyond[k];
	for (; i < n; i++) {
		const int32_t magnitude = (int32_t)(bits_of_float(scales[i]) & 0x7fffffff);

		fits &= magnitude >= least && magnitude <= most;
	}
	for (i = 0; fits && i < n; i++)
		scales[i] *= factor;
	return fits;
}

/* Repeats the scales of blocks for each of their columns, in place, the last ones first. */
static void fp8_repeat(struct fp8_part *p, uint32_t blocks)
{
	const uint32_t width = p->t->block_columns;
	uint32_t left = (p->column0 + p->columns - 1) % width + 1;

	for (uint32_t i = p->columns; i-- > 0; left--) {
		if (!left) {
			left = width;
			blocks--;
		}
		p->scale[i] = p->scale[blocks - 1];
	}
}

/* Fills in the scales for `row` and the part's columns, and whether the plain kernel can be used. */
static __attribute__((noinline)) void fp8_load_scales(struct fp8_part *p, uint32_t row)
{
	const struct fp8_tensor *t = p->t;
	const size_t grid_columns = (t->columns - 1) / t->block_columns + 1;
	const uint32_t first = p->column0 / t->block_columns, last = (p->column0 + p->columns - 1) / t->block_columns;
	const size_t at = row / t->block_rows * grid_columns + first;
	const uint32_t count = last - first + 1;

	fp8_load_floats(p->scale, t->scales + at * element_bytes(t->scale_dtype), count, t->scale_dtype);
	p->variant.plain = t->code_dtype == DTYPE_F8_E4M3 && fp8_fold(p->scale, count, t->divide);
	if (p->variant.each)
		fp8_repeat(p, count);
}

/* ---- rows ---- */

/* Groups of 32, the first of which is whole: MXFP8. A constant count leaves no loop of fp8_decode. */
ALWAYS_INLINE void fp8_row_of_groups(char *dst, const unsigned char *codes, const struct fp8_part *p,
    struct fp8_variant v)
{
	const size_t size = out_bytes(v.out);
	const float *scale = p->scale;
	uint32_t done = 0;

	for (; done + FP8_NARROW <= p->columns; done += FP8_NARROW)
		fp8_decode(dst + done * size, codes + done, FP8_NARROW, scale++, v);
	if (done < p->columns)
		fp8_decode(dst + done * size, codes + done, p->columns - done, scale, v);
}

ALWAYS_INLINE void fp8_row(char *dst, const unsigned char *codes, const struct fp8_part *p, struct fp8_variant v)
{
	const size_t size = out_bytes(v.out);
	const uint32_t width = p->t->block_columns;
	const float *scale = p->scale;
	uint32_t n = width - p->column0 % width;

	if (v.each) {
		fp8_decode(dst, codes, p->columns, scale, v);
		return;
	}
	if (width == FP8_NARROW && n == width) {
		fp8_row_of_groups(dst, codes, p, v);
		return;
	}
	for (uint32_t done = 0; done < p->columns; done += n, n = width) {
		n = n < p->columns - done ? n : p->columns - done;
		fp8_decode(dst + done * size, codes + done, n, scale++, v);
	}
}

ALWAYS_INLINE void fp8_part_decode(const struct fp8_part *p, struct fp8_variant v)
{
	for (uint32_t i = 0; i < p->rows; i++)
		fp8_row(p->dst + i * p->pitch, p->codes + (size_t)i * p->t->columns, p, v);
}

/* Returns as many columns of the rectangle, from `column`, as there is room for scales. */
static uint32_t fp8_part_columns(const struct fp8_tensor *t, const struct kernel_rect *r, uint32_t column)
{
	const uint32_t left = r->column0 + r->columns - column;
	uint64_t room = FP8_SCALES;

	if (t->block_columns >= FP8_NARROW)
		room = room * t->block_columns - column % t->block_columns;
	return left < room ? left : (uint32_t)room;
}

/* Calls the kernel of the part, each made for one variant. */
ALWAYS_INLINE void fp8_part_run(const struct fp8_part *p, struct fp8_variant v)
{
	const bool plain = p->variant.plain;

	if (plain && v.divide && v.each)
		fp8_part_decode(p, (struct fp8_variant){DTYPE_F8_E4M3, v.out, true, true, true});
	else if (plain && v.divide)
		fp8_part_decode(p, (struct fp8_variant){DTYPE_F8_E4M3, v.out, true, false, true});
	else if (plain && v.each)
		fp8_part_decode(p, (struct fp8_variant){DTYPE_F8_E4M3, v.out, false, true, true});
	else if (plain)
		fp8_part_decode(p, (struct fp8_variant){DTYPE_F8_E4M3, v.out, false, false, true});
	else
		fp8_part_decode(p, v);
}

ALWAYS_INLINE void fp8_run(void *dst, const struct fp8_tensor *t, const struct kernel_rect *r, enum dtype out)
{
	const struct fp8_variant any = {t->code_dtype, out, t->divide, t->block_columns < FP8_NARROW, false};
	const size_t size = out_bytes(out);
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
			fp8_part_run(&p, any);
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
