/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_AWQ_H
#define GPTQFS_AWQ_H

/*
 * AWQ: the numeric contract and its kernels. Codes have 4 bits.
 *
 *     w[n][k] = round_to_nearest_even( fl( fp32(scale) * (float)(code - zero) ) )           GEMM and GEMV
 *     w[n][k] = round_to_nearest_even( fl( fl( (float)code * fp32(scale) ) + fp32(zero) ) ) GEMV fast
 *
 * with scale and zero of row n and group k / group_size. fl() is one rounding to fp32, to nearest even, subnormals
 * kept, never fused with another; code - zero is an integer, and zeros are stored as they are. The zeros of GEMV fast
 * are floats, -scale * zero. Then follows one rounding to the output type. -0.0, subnormals and inf are kept; NaN is
 * always canonical: fp16 0x7e00, bf16 0x7fc0, fp32 0x7fc00000.
 *
 * Output is [out_features, in_features], row-major, as in nn.Linear.
 */

#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kernel/rect.h"

/* The layout of codes and parameters. All words are little-endian. */
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
 * One matrix. Pointers into checkpoint files may be unaligned. Sizes were checked when the struct was filled in;
 * kernels check nothing.
 */
struct awq_tensor {
	uint32_t in_features;  /* at least 1; GEMV: a multiple of 8; GEMV fast: of 64 */
	uint32_t out_features; /* at least 1; GEMM: a multiple of 8; GEMV fast: of 4 */
	uint32_t group_size;   /* at least 1; the last group may be short */
	uint32_t slots;        /* groups there is room for, at least as many as there are; GEMV: a multiple of 8 */
	enum awq_layout layout;
	enum dtype scale_dtype; /* F16, BF16 or F32; GEMV fast: that of zeros too */
	const unsigned char *qweight;
	const unsigned char *qzeros; /* NULL: every zero is 8; GEMV fast: never */
	const unsigned char *scales;
};

/* Returns the nibble that holds column i of a word's eight. */
static inline unsigned awq_nibble(unsigned i)
{
	return i / 2 + i % 2 * 4;
}

/* Return code and zero (not of GEMV fast), which define the formats; the index of the scale. */
uint32_t awq_code(const struct awq_tensor *t, uint32_t n, uint32_t k);
uint32_t awq_zero(const struct awq_tensor *t, uint32_t n, uint32_t g);
size_t awq_scale_index(const struct awq_tensor *t, uint32_t n, uint32_t g);

/*
 * Writes a rectangle of the matrix to dst: exactly r->rows * r->columns elements of the kernel's output type, without
 * gaps. dst may be unaligned, but 64-byte-aligned rows are faster. Thread-safe, cannot fail, allocates nothing. Reads
 * only what the rectangle needs. A fault in mapped memory may abort it at any point, so it takes no locks.
 */
typedef void awq_fn(void *dst, const struct awq_tensor *t, const struct kernel_rect *r);

/* The kernels of one CPU level. */
struct awq_dsp {
	awq_fn *rows[AWQ_LAYOUTS][DTYPE_VIEWS];
};

/* Fills the table with the C reference. */
void awq_init(struct awq_dsp *dsp);

/* Each overrides the slots that its instruction set speeds up. Call only if cpu_detect() allows it. */
void awq_init_vector(struct awq_dsp *dsp);
void awq_init_avx2(struct awq_dsp *dsp);
void awq_init_avx512(struct awq_dsp *dsp);

#endif
