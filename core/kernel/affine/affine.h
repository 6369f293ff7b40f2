/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_AFFINE_H
#define GPTQFS_AFFINE_H

/*
 * Integer codes that run along the rows of a matrix: the numeric contract and its kernels. This is how
 * compressed-tensors, MLX and Gemma store weights; GPTQ, whose codes run down the columns, is another kernel.
 *
 *     w[n][k] = round_to_nearest_even( fl( fp32(scale) * (float)(code - zero) ) )            with zeros
 *     w[n][k] = round_to_nearest_even( fl( fl( fp32(scale) * (float)code ) + fp32(bias) ) )  with biases
 *
 * where fl() is one rounding to fp32, to nearest even, subnormals kept, never fused with another; code - zero is an
 * integer. Scale, zero and bias are those of row block n / block_rows and of group g_idx[k], or k / block_columns if
 * there is no g_idx. Then follows one rounding to the output type. -0.0, subnormals and inf are kept; NaN is always
 * canonical: fp16 0x7e00, bf16 0x7fc0, fp32 0x7fc00000.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kernel/rect.h"

/* The layout of the codes of a row. Words have 32 bits and are little-endian. */
enum affine_packing {
	AFFINE_STREAM, /* fields of `bits` bits, one after another, lowest bit first */
	AFFINE_WORDS,  /* 32 / bits whole fields per word, lowest first; the highest bits may be unused */
	AFFINE_SIGNED, /* a signed byte each; the code is that byte plus 128, and `bits` is 8 */
};

enum affine_offset {
	AFFINE_MIDDLE, /* every zero is 1 << (bits - 1) */
	/*
	 * Codes of zeros, as wide as the weight's and packed the same way (STREAM or WORDS), but down the columns:
	 * words [ceil(rows * bits / 32), groups], or for WORDS as many as whole fields take.
	 */
	AFFINE_ZEROS_PACKED,
	AFFINE_ZEROS_SIGNED, /* a signed byte beside each scale: the zero is that plus 1 << (bits - 1) */
	AFFINE_BIASES,       /* a float beside each scale */
};

/*
 * One matrix. Pointers into checkpoint files may be unaligned. Sizes were checked when the struct was filled in;
 * kernels check nothing.
 *
 * Scale of the whole matrix: blocks of rows x columns. Per row: 1 x columns. In groups along a row: 1 x group_size.
 */
struct affine_matrix {
	uint32_t rows, columns;             /* at least 1 */
	uint32_t block_rows, block_columns; /* at least 1; share a scale */
	uint32_t groups;                    /* scales per row, at least 1 */
	uint8_t bits;                       /* 1 to 8 */
	enum affine_packing packing;
	enum affine_offset offset;
	enum dtype scale_dtype;       /* F16, BF16 or F32, as that of biases */
	size_t row_bytes;             /* from one row of codes to the next */
	const unsigned char *codes;   /* [rows] */
	const unsigned char *scales;  /* scale_dtype [ceil(rows / block_rows), groups] */
	const unsigned char *offsets; /* zeros: see above; biases: as scales; NULL with AFFINE_MIDDLE */
	const uint32_t *g_idx; /* [columns], each < groups; aligned private memory, or NULL: block_columns * groups
	                        * covers the columns then */
};

/* Return the code of row n, column k, and its zero, which may be outside of 0 to 255. These define the formats. */
uint32_t affine_code(const struct affine_matrix *m, uint32_t n, uint32_t k);
int32_t affine_zero(const struct affine_matrix *m, uint32_t n, uint32_t g);

static inline uint32_t affine_group(const struct affine_matrix *m, uint32_t k)
{
	return m->g_idx ? m->g_idx[k] : k / m->block_columns;
}

/* Returns the index of the scale, or bias, of row n and group g. */
static inline size_t affine_scale_index(const struct affine_matrix *m, uint32_t n, uint32_t g)
{
	return (size_t)(n / m->block_rows) * m->groups + g;
}

/*
 * Writes a rectangle of the matrix to dst: exactly r->rows * r->columns elements of the kernel's output type, without
 * gaps. dst may be unaligned, but 64-byte-aligned rows are faster. Thread-safe, cannot fail, allocates nothing. Reads
 * only rows of the rectangle. A fault in mapped memory may abort it at any point, so it takes no locks.
 */
typedef void affine_fn(void *dst, const struct affine_matrix *m, const struct kernel_rect *r);

/* The C reference. */
extern affine_fn *const affine_reference[DTYPE_VIEWS];

/* The kernels of one CPU level, by output type: each takes every affine_matrix. */
struct affine_dsp {
	affine_fn *rows[DTYPE_VIEWS];
};

/* Fills the table with the C reference. */
void affine_init(struct affine_dsp *dsp);

/* Each overrides the slots that its instruction set speeds up. Call only if cpu_detect() allows it. */
void affine_init_vector(struct affine_dsp *dsp);
void affine_init_avx2(struct affine_dsp *dsp);
void affine_init_avx512(struct affine_dsp *dsp);

#endif
