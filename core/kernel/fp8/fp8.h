/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FP8_H
#define GPTQFS_FP8_H

/*
 * FP8: the numeric contract and its kernels.
 *
 *     w[n][k] = round_to_nearest_even( fl( value(code[n][k]) * fp32(scale[n / block_rows][k / block_columns]) ) )
 *
 * where fl() is one rounding to fp32, to nearest even, subnormals kept; with `divide`, a true division replaces the
 * multiplication. Code values and scales are exact in fp32. Only F32 scales need fl(): with scales of 8 or 11
 * significant bits, and powers of two, the product is exact except for underflow. Then follows one rounding to the
 * output type. -0.0, subnormals and inf are kept; NaN is always canonical: fp16 0x7e00, bf16 0x7fc0, fp32 0x7fc00000.
 *
 * E4M3 (1-4-3, bias 7) has no inf; its NaNs are 0x7f and 0xff. E5M2 is the high byte of an fp16. An E8M0 scale x means
 * 2^(x - 127), including 2^-127; 255 is NaN.
 *
 * Block indices are integer quotients, so the last block of a ragged dimension is short and all others are full: 192
 * rows in 2 blocks of 128 are 128 + 64, never 96 + 96.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kernel/rect.h"

/*
 * A matrix: a weight, or one expert of a stack. Pointers into checkpoint files may be unaligned. Sizes were checked
 * when the struct was filled in; kernels check nothing.
 *
 * One scale for the matrix: blocks of rows x columns. Per row: 1 x columns. Per column: rows x 1. Groups of 32 along a
 * row (MXFP8): 1 x 32.
 */
struct fp8_tensor {
	uint32_t rows, columns;             /* at least 1 */
	uint32_t block_rows, block_columns; /* at least 1, with no upper limit */
	enum dtype code_dtype;              /* F8_E4M3 or F8_E5M2 */
	enum dtype scale_dtype;             /* F32, F16, BF16 or F8_E8M0, which files may declare as U8 */
	bool divide;                        /* w = value / scale: GPTQModel's FP8 */
	const unsigned char *codes;         /* [rows, columns] */
	const unsigned char *scales;        /* scale_dtype [ceil(rows / block_rows), ceil(columns / block_columns)] */
};

/*
 * Writes a rectangle of the matrix to dst: exactly r->rows * r->columns elements of the kernel's output type, without
 * gaps. dst may be unaligned, but 64-byte-aligned rows are faster. Thread-safe, cannot fail, allocates nothing. Reads
 * only what the rectangle needs. A fault in mapped memory may abort it at any point, so it takes no locks.
 */
typedef void fp8_fn(void *dst, const struct fp8_tensor *t, const struct kernel_rect *r);

/* The kernels of one CPU level, by output type: each takes every fp8_tensor. */
struct fp8_dsp {
	fp8_fn *rows[DTYPE_VIEWS];
};

/* Fills the table with the C reference. */
void fp8_init(struct fp8_dsp *dsp);

/* Each overrides the slots that its instruction set speeds up. Call only if cpu_detect() allows it. */
void fp8_init_vector(struct fp8_dsp *dsp);
void fp8_init_avx2(struct fp8_dsp *dsp);
void fp8_init_avx512(struct fp8_dsp *dsp);

#endif
