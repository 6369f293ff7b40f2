/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_BNB_H
#define GPTQFS_BNB_H

/*
 * bitsandbytes: the numeric contracts and their kernels.
 *
 * 4 bits (nf4 and fp4), with the weight as one array, row after row, so that blocks may cross the ends of rows:
 *
 *     w[i] = round_to_nearest_even( fl( table[code[i]] * absmax[i / block] ) )
 *
 * Code i is a nibble of byte i / 2: the HIGH one where i is even. absmax is stored, or, with double quantization,
 *
 *     absmax[b] = fl( fl( nested_map[u[b]] * nested_absmax[b / nested_block] ) + nested_offset )
 *
 * 8 bits (LLM.int8), a scale for each row, the largest absolute value of it:
 *
 *     w[n][k] = round_to_nearest_even( fl( fl( code[n][k] * scale[n] ) * bnb8_step ) )
 *
 * fl() is one rounding to fp32, to nearest even, subnormals kept; nothing is fused. Then follows one rounding to the
 * output type. -0.0, subnormals and inf are kept; NaN is always canonical: fp16 0x7e00, bf16 0x7fc0, fp32 0x7fc00000.
 */

#include <stdint.h>

#include "base/dtype.h"
#include "kernel/rect.h"

extern const float bnb_nf4[16], bnb_fp4[16]; /* fp4 is not E2M1, and has no -0.0 */
extern const float bnb8_step;                /* 1/127 */

/* Limits of 1 << block_log2: the sizes that bitsandbytes writes. */
#define BNB_BLOCK_MIN 32
#define BNB_BLOCK_MAX 4096

/*
 * Pointers into checkpoint files may be unaligned. Sizes were checked when the structs were filled in; kernels check
 * nothing.
 */
struct bnb4_tensor {
	uint32_t rows, columns; /* at least 1 */
	const float *table;     /* bnb_nf4 or bnb_fp4 */
	unsigned block_log2;
	const unsigned char *codes;      /* [ceil(n / 2)], n = rows * columns */
	const unsigned char *absmax;     /* F32 [ceil(n / block)], or U8 with double quantization */
	const unsigned char *nested_map; /* F32 [256]; NULL without double quantization, as the rest is unused then */
	const unsigned char *nested_absmax; /* F32 [ceil(blocks / nested_block)] */
	unsigned nested_log2;
	float nested_offset;
};

struct bnb8_tensor {
	uint32_t rows, columns;      /* at least 1 */
	const unsigned char *codes;  /* I8 [rows, columns] */
	const unsigned char *scales; /* F32 [rows] */
};

/*
 * Each writes a rectangle of the matrix to dst: exactly r->rows * r->columns elements of the kernel's output type,
 * without gaps. dst may be unaligned, but 64-byte-aligned rows are faster. Thread-safe, cannot fail, allocates nothing.
 * Reads only what the rectangle needs. A fault in mapped memory may abort it at any point, so it takes no locks.
 */
typedef void bnb4_fn(void *dst, const struct bnb4_tensor *t, const struct kernel_rect *r);
typedef void bnb8_fn(void *dst, const struct bnb8_tensor *t, const struct kernel_rect *r);

/* The kernels of one CPU level, by output type. */
struct bnb_dsp {
	bnb4_fn *rows4[DTYPE_VIEWS];
	bnb8_fn *rows8[DTYPE_VIEWS];
};

/* Returns the scale of a block, for the kernels of all levels. */
float bnb4_absmax(const struct bnb4_tensor *t, uint64_t block);

/* Fills the table with the C reference. */
void bnb_init(struct bnb_dsp *dsp);

/* Each overrides the slots that its instruction set speeds up. Call only if cpu_detect() allows it. */
void bnb_init_vector(struct bnb_dsp *dsp);
void bnb_init_avx2(struct bnb_dsp *dsp);
void bnb_init_avx512(struct bnb_dsp *dsp);

#endif
