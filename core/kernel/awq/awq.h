/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_AWQ_H
#define GPTQFS_AWQ_H

/*
 * AWQ: the numeric contract, and the kernels that keep it. Codes have 4 bits.
 *
 *     w[n][k] = round_to_nearest_even( fl( fp32(scale) * (float)(code - zero) ) )           GEMM and GEMV
 *     w[n][k] = round_to_nearest_even( fl( fl( (float)code * fp32(scale) ) + fp32(zero) ) ) GEMV fast
 *
 * with scale and zero of row n and group k / group_size. fl() is one rounding to fp32, to nearest even, subnormals
 * kept, never fused with another; code - zero is an integer, and stored zeros are meant as they are. The zeros of GEMV
 * fast are floats, -scale * zero. Then one rounding to the output type. -0.0, subnormals and inf are kept; a NaN is
 * always the canonical one: fp16 0x7e00, bf16 0x7fc0, fp32 0x7fc00000.
 *
 * Output is [out_features, in_features], row-major, as nn.Linear keeps it.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kernel/rect.h"

/* How codes and parameters lie. All words are little-endian. */
enum awq_layout {
	/*
	 * 32-bit words [in_features, out_features / 8]: columns 8c to 8c + 7 are in word c, column 8c + i in the nibble
	 * awq_nibble(i). Zeros likewise: [groups, out_features / 8]. Scales [groups, out_features].
	 */
	AWQ_GEMM,
	/*
	 * 32-bit words [out_features, in_features / 8], lowest nibble first. Zeros likewise, groups in place of inputs:
	 * [out_features, slots / 8]. Scales [out_features, slots].
	 */
	AWQ_GEMV,
	/*
	 * 16-bit words [out_features / 4, in_features]. Of row 4r + i, inputs 64c to 64c + 63 are words 64c + 16i to
	 * 64c + 16i + 15 of row r, 32 inputs in 8 words: input 8b + j of them is nibble b of word j. Zeros and scales
	 * [slots, out_features].
	 */
	AWQ_GEMV_FAST,
};

#define AWQ_LAYOUTS 3

/*
 * One matrix. Pointers into checkpoint files have no alignment at all. Sizes were checked when the struct was filled;
 * kernels check nothing.
 */
struct awq_tensor {
	uint32_t in_features;  /* at least 1; GEMV: a multiple of 8; GEMV fast: of 64 */
	uint32_t out_features; /* at least 1; GEMM: a multiple of 8; GEMV fast: of 4 */
	uint32_t group_size;   /* at least 1; the last group may be short */
	uint32_t slots;        /* groups that there is room for: at least those there are; GEMV: a multiple of 8 */
	enum awq_layout layout;
	enum dtype scale_dtype; /* F16, BF16 or F32; GEMV fast: that of zeros too */
	const unsigned char *qweight;
	const unsigned char *qzeros; /* NULL: every zero is 8; GEMV fast: never */
	const unsigned char *scales;
};

/* The nibble of a word that column i of its eight is in. */
static inline unsigned awq_nibble(unsigned i)
{
	return i / 2 + i % 2 * 4;
}

/* Code and zero (not of GEMV fast) in their plainest form; where the scale is, in elements. */
uint32_t awq_code(const struct awq_tensor *t, uint32_t n, uint32_t k);
uint32_t awq_zero(const struct awq_tensor *t, uint32_t n, uint32_t g);
size_t awq_scale_index(const struct awq_tensor *t, uint32_t n, uint32_t g);

/*
 * Writes a rectangle of the matrix to dst, r->rows * r->columns elements of the kernel's output type without gaps, and
 * not a byte beyond. dst need not be aligned, but 64-byte-aligned rows are faster. Allocates nothing, cannot fail, runs
 * in any number of threads. Reads only what the rectangle needs; a fault in mapped memory may end it anywhere, so it
 * holds no lock.
 */
typedef void awq_fn(void *dst, const struct awq_tensor *t, const struct kernel_rect *r);

/* The kernels of one CPU level. */
struct awq_dsp {
	awq_fn *rows[AWQ_LAYOUTS][DTYPE_VIEWS];
};

/* Fills the table with the C reference. */
void awq_init(struct awq_dsp *dsp);

/* Each overrides what its instruction set does faster. Call only where cpu_detect() allows it. */
void awq_init_vector(struct awq_dsp *dsp);
void awq_init_avx2(struct awq_dsp *dsp);
void awq_init_avx512(struct awq_dsp *dsp);

#endif
