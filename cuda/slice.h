/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CUDA_SLICE_H
#define GPTQFS_CUDA_SLICE_H

/*
 * The argument of a kernel: some columns of a quantized matrix in device memory, and the rows of output wanted.
 * Compiled for device and host, so it contains only numbers and addresses.
 *
 * Rows of qweight, qzeros and scales begin at multiples of 16 bytes, so that threads can load 16 bytes at a time; bytes
 * after the last column are never used.
 */

#include <stdint.h>

/* The values of enum zeros and enum packing of core/kernel/gptq/gptq.h, and of enum dtype; columns.c asserts that. */
#define SLICE_ZEROS_V1 0
#define SLICE_ZEROS_V2 1
#define SLICE_ZEROS_MIDDLE 2
#define SLICE_F16 0
#define SLICE_BF16 1
#define SLICE_F32 2
#define SLICE_STREAM 0
#define SLICE_PLANAR 1

/* Scale and zero of one group and column, in the types of the formula. */
struct slice_group {
	float scale;
	int32_t zero;
} __attribute__((aligned(8)));

struct slice {
	const unsigned char *qweight; /* words [weight_rows, columns] */
	const unsigned char *qzeros;  /* words [groups, ...]; unused for the middle value */
	const unsigned char *scales;  /* [groups, columns] */
	const uint32_t *g_idx;        /* [in_features], or NULL */
	struct slice_group *table;    /* [groups, columns], made by expand_groups from the two above */
	unsigned char *out;           /* [rows, out_stride] of the output type */
	uint32_t weight_stride, zero_stride, scale_stride; /* bytes between rows */
	uint32_t out_stride;                               /* elements, a multiple of 8 */
	uint32_t in_features, columns, groups, group_size;
	uint32_t weight_rows;
	uint32_t row0, rows; /* output: columns [row0, row0 + rows) of the slice */
	uint32_t bits, packing, word_bits, zeros, scale_dtype;
};

/*
 * A block of SLICE_THREADS threads decodes a tile of SLICE_COLUMNS columns by SLICE_INPUTS inputs. Tiles begin at the
 * multiple of 4 columns at or before row0.
 */
#define SLICE_THREADS 256
#define SLICE_COLUMNS 64
#define SLICE_INPUTS 256

#endif
