/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_KERNEL_MLX_H
#define GPTQFS_KERNEL_MLX_H

/*
 * Matrices in the affine form of MLX, made of weights that are scale * (code - zero). MLX has a scale and a bias for
 * each group of a row, and computes
 *
 *     w = fl( fl( scale * code ) + bias ),  bias = scale * -zero
 *
 * where fl() is one rounding to fp32. With at most 8 bits of code and zero and 16 significant bits of scale, no step
 * rounds, so w has the bits of the fp32 view, except for the sign of zero: MLX's is positive.
 *
 * Codes are fields of 2, 3, 4, 5, 6 or 8 bits, one after another along the row, lowest bit first.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MLX_BLOCK 32 /* weights packed at a time, to 4 * bits bytes */
#define MLX_BITS_MAX 8

/*
 * Packs exactly `blocks` blocks of weights that share a zero, without gaps. Levels are code - zero times 2^-24, as in
 * struct gguf_row; code - zero + zero is below 2^bits. dst may be unaligned.
 */
typedef void mlx_pack_fn(void *dst, const uint16_t *level, const uint8_t *zero, size_t blocks);

/* Transposed words: row n of dst is column n of src. Bytes between rows of each; neither need be aligned. */
struct mlx_transpose {
	const unsigned char *src;
	size_t src_row, dst_row;
	uint32_t rows, columns; /* of dst */
};

/* Writes exactly the bytes of dst's rows, and none between them. */
typedef void mlx_transpose_fn(void *dst, const struct mlx_transpose *t);

/* The kernels of one CPU level. */
struct mlx_dsp {
	mlx_pack_fn *pack[MLX_BITS_MAX + 1]; /* by bits; NULL for 0, 1 and 7 */
	mlx_transpose_fn *transpose;
};

/* The C reference. */
extern const struct mlx_dsp mlx_reference;

/* Returns the narrowest field that holds codes of `bits` bits, at most 8. */
unsigned mlx_bits(unsigned bits);

/* Returns the bias of a group: the product is exact where the scale has at most 16 significant bits. */
static inline float mlx_bias(float scale, int32_t zero)
{
	return scale * (float)-zero;
}

/*
 * True if no step of the formula rounds with this scale: it has at most 16 significant bits, and is so small that 16
 * more do not make it infinite.
 */
bool mlx_is_exact(float scale);

/* Fills the table with the C reference. */
void mlx_init(struct mlx_dsp *dsp);

/* Overrides the slots that AVX2 speeds up. Call only if cpu_detect() allows it. */
void mlx_init_avx2(struct mlx_dsp *dsp);

#endif
