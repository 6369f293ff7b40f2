/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FP8_H
#define GPTQFS_FP8_H

/*
 * FP8: the numeric contract, and the kernels that keep it.
 *
 *     w[n][k] = round_to_nearest_even( fl( value(code[n][k]) * fp32(scale[n / block_rows][k / block_columns]) ) )
 *
 * where fl() is one rounding to fp32, to nearest even, subnormals kept; `divide` puts a true division in place of the
 * multiplication. Code values and scales are exact in fp32. Only F32 scales need fl(): with those of 8 or 11
 * significant bits, and powers of two, the product is exact but for underflow. Then one rounding to the output type.
 * -0.0, subnormals and inf are kept; a NaN is always the canonical one: fp16 0x7e00, bf16 0x7fc0, fp32 0x7fc00000.
 *
 * E4M3 (1-4-3, bias 7) has no inf; its NaNs are 0x7f and 0xff. E5M2 is the high byte of an fp16. An E8M0 scale x is
 * 2^(x - 127), 2^-127 among them; 255 is NaN.
 *
 * Blocks divide rows and columns by integer division, so the last block of a ragged dimension is short and the others
 * are full: 192 rows in 2 blocks of 128 are 128 + 64, never 96 + 96.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kernel/rect.h"

/*
 * One matrix: a weight, or one expert of a stack. Pointers into checkpoint files have no alignment at all. Sizes were
 * checked when the struct was filled; kernels check nothing.
 *
 * Scale of the whole matrix: blocks of rows x columns. Per row: 1 x columns. Per column: rows x 1. In groups of 32
 * along a row (MXFP8): 1 x 32.
 */
struct fp8_tensor {
	uint32_t rows, columns;             /* at least 1 */
	uint32_t block_rows, block_columns; /* at least 1, otherwise any */
	enum dtype code_dtype;              /* F8_E4M3 or F8_E5M2 */
	enum dtype scale_dtype;             /* F32, F16, BF16 or F8_E8M0, which files may call U8 */
	bool divide;                        /* w = value / scale: GPTQModel's FP8 */
	const unsigned char *codes;         /* [rows, columns] */
	const unsigned char *scales;        /* scale_dtype [ceil(rows / block_rows), ceil(columns / block_columns)] */
};

/*
 * Writes a rectangle of the matrix to dst, r->rows * r->columns elements of the kernel's output type without gaps, and
 * not a byte beyond. dst need not be aligned, but 64-byte-aligned rows are faster. Allocates nothing, cannot fail, runs
 * in any number of threads. Reads only what the rectangle needs; a fault in mapped memory may end it anywhere, so it
 * holds no lock.
 */
typedef void fp8_fn(void *dst, const struct fp8_tensor *t, const struct kernel_rect *r);

/* The kernels of one CPU level, by output type: each takes every fp8_tensor. */
struct fp8_dsp {
	fp8_fn *rows[DTYPE_VIEWS];
};

/* Fills the table with the C reference. */
void fp8_init(struct fp8_dsp *dsp);

/* Each overrides what its instruction set does faster. Call only where cpu_detect() allows it. */
void fp8_init_avx2(struct fp8_dsp *dsp);
void fp8_init_avx512(struct fp8_dsp *dsp);

#endif
