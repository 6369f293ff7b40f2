/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_HQQ_H
#define GPTQFS_HQQ_H

/*
 * HQQ: the numeric contract and its kernels.
 *
 *     w[n][k] = round_to_nearest_even( fl( fl( (float)code - fp32(zero) ) * fp32(scale) ) )
 *
 * where fl() is one rounding to fp32, to nearest even, subnormals kept, never fused with another; zeros are fractions.
 * Then follows one rounding to the output type. -0.0, subnormals and inf are kept; NaN is always canonical: fp16
 * 0x7e00, bf16 0x7fc0, fp32 0x7fc00000.
 *
 * The weight, all rows one after another, is cut into the rows of a grid, of which each row or each column is a group.
 * To pack the grid, it is cut into `lanes` slices of equal height, whose rows share words, the first slice in the
 * highest bits. The last slice may lack rows.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kernel/rect.h"

/*
 * One matrix. Pointers into checkpoint files may be unaligned. Sizes were checked when the struct was filled in;
 * kernels check nothing.
 */
struct hqq_tensor {
	uint32_t rows, columns;              /* of the weight, at least 1 */
	uint64_t width;                      /* of a row of the grid; the grid has exactly the weight's elements */
	uint64_t slice;                      /* rows of the grid in a slice, at least 1 */
	bool by_columns;                     /* a column of the grid is a group, else a row */
	uint8_t bits;                        /* of a code: 1, 2, 3, 4 or 8 */
	uint8_t lanes;                       /* slices */
	uint8_t word_bytes;                  /* 1, or 4 with 3 bits */
	enum dtype param_dtype;              /* F16, BF16 or F32 */
	const unsigned char *codes;          /* words [slice, width] */
	const unsigned char *scales, *zeros; /* param_dtype, one for each group */
};

/* Return the code of row n, column k; the index of its group. These define the formats. */
uint32_t hqq_code(const struct hqq_tensor *t, uint32_t n, uint32_t k);
size_t hqq_group_of(const struct hqq_tensor *t, uint32_t n, uint32_t k);

/*
 * Writes a rectangle of the matrix to dst: exactly r->rows * r->columns elements of the kernel's output type, without
 * gaps. dst may be unaligned, but 64-byte-aligned rows are faster. Thread-safe, cannot fail, allocates nothing. Reads
 * only what the rectangle needs. A fault in mapped memory may abort it at any point, so it takes no locks.
 */
typedef void hqq_fn(void *dst, const struct hqq_tensor *t, const struct kernel_rect *r);

/* The kernels of one CPU level, by output type: each takes every hqq_tensor. */
struct hqq_dsp {
	hqq_fn *rows[DTYPE_VIEWS];
};

/* Fills the table with the C reference. */
void hqq_init(struct hqq_dsp *dsp);

/* Each overrides the slots that its instruction set speeds up. Call only if cpu_detect() allows it. */
void hqq_init_vector(struct hqq_dsp *dsp);
void hqq_init_avx2(struct hqq_dsp *dsp);
void hqq_init_avx512(struct hqq_dsp *dsp);

#endif
