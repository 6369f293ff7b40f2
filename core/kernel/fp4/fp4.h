/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FP4_H
#define GPTQFS_FP4_H

/*
 * MXFP4, MXFP6 and NVFP4: floats of 4 or 6 bits, and a scale for each group of them along a row. The numeric contract
 * and its kernels.
 *
 *     w[n][k] = round_to_nearest_even( fl( value(code[n][k]) * S[n][k / group] ) )
 *
 *     S = scale                   MXFP4, MXFP6
 *     S = fl( scale * global )    NVFP4 of ModelOpt
 *     S = fl( scale / global )    NVFP4 of compressed-tensors: a true division
 *
 * where fl() is one rounding to fp32, to nearest even, subnormals kept, and the last rounding is to the output type.
 * Code values and scales are exact in fp32. -0.0, which is E2M1's code 8, subnormals and inf are kept; NaN is always
 * canonical: fp16 0x7e00, bf16 0x7fc0, fp32 0x7fc00000.
 *
 * E2M1 (F4) is 0, 0.5, 1, 1.5, 2, 3, 4, 6 and their negatives; E2M3 (F6_E2M3) goes up to 7.5 in steps of at least an
 * eighth. An E8M0 scale x is 2^(x - 127), 2^-127 among them; 255 is NaN.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kernel/rect.h"

/*
 * One matrix: a weight, or one expert of a stack. Pointers into checkpoint files may be unaligned. Sizes were checked
 * when the struct was filled in; kernels check nothing.
 */
struct fp4_tensor {
	uint32_t rows, columns;      /* at least 1; whole groups of columns */
	uint32_t group;              /* 16 or 32 columns */
	enum dtype code_dtype;       /* F4 or F6_E2M3 */
	enum dtype scale_dtype;      /* F8_E8M0, which files may call U8, or F8_E4M3 */
	bool divide;                 /* by the global scale */
	const unsigned char *codes;  /* [rows, columns], a stream of bits in each row, the lowest first */
	const unsigned char *scales; /* scale_dtype [rows, columns / group] */
	const unsigned char *global; /* an F32, or NULL if there is none */
};

/*
 * Writes a rectangle to dst: exactly r->rows * r->columns elements of the kernel's output type, without gaps. dst may
 * be unaligned, but 64-byte-aligned rows are faster. Thread-safe, cannot fail, allocates nothing. Reads only what the
 * rectangle needs. A fault in mapped memory may abort it at any point, so it takes no locks.
 */
typedef void fp4_fn(void *dst, const struct fp4_tensor *t, const struct kernel_rect *r);

/* The kernels of one CPU level, by output type: each takes every fp4_tensor. */
struct fp4_dsp {
	fp4_fn *rows[DTYPE_VIEWS];       /* rectangles are whole groups */
	fp4_fn *transposed[DTYPE_VIEWS]; /* rectangles, of any size, of the transposed matrix */
};

/* Fills the table with the C reference. */
void fp4_init(struct fp4_dsp *dsp);

/* Each overrides the slots that its instruction set speeds up. Call only if cpu_detect() allows it. */
void fp4_init_vector(struct fp4_dsp *dsp);
void fp4_init_avx2(struct fp4_dsp *dsp);
void fp4_init_avx512(struct fp4_dsp *dsp);

#endif
