/* SPDX-License-Identifier: MIT */

/* The C reference: deliberately plain, since every kernel is compared with it. */

#include "kernel/mlx/mlx.h"

#include <string.h>

#include "base/half.h"

static unsigned code_of(uint16_t level, uint8_t zero)
{
	return (unsigned)((level & 0x8000 ? -(level & 0x7fff) : level) + zero);
}

static void mlx_pack(unsigned char *dst, const uint16_t *level, const uint8_t *zero, size_t blocks, unsigned bits)
{
	memset(dst, 0, blocks * MLX_BLOCK / 8 * bits);
	for (size_t i = 0; i < blocks * MLX_BLOCK; i++) {
		const unsigned field = code_of(level[i], zero[i / MLX_BLOCK]) << i * bits % 8;

		dst[i * bits / 8] |= (unsigned char)field;
		if (field > 0xff)
			dst[i * bits / 8 + 1] |= (unsigned char)(field >> 8);
	}
}

#define DEFINE_PACK(bits)                                                                                \
	static void mlx_pack##bits(void *dst, const uint16_t *level, const uint8_t *zero, size_t blocks) \
	{                                                                                                \
		mlx_pack(dst, level, zero, blocks, bits);                                                \
	}

DEFINE_PACK(2)
DEFINE_PACK(3)
DEFINE_PACK(4)
DEFINE_PACK(5)
DEFINE_PACK(6)
DEFINE_PACK(8)

static void mlx_transpose(void *dst, const struct mlx_transpose *t)
{
	for (uint32_t n = 0; n < t->rows; n++)
		for (uint32_t k = 0; k < t->columns; k++)
			memcpy((unsigned char *)dst + n * t->dst_row + (size_t)k * 4,
			    t->src + k * t->src_row + (size_t)n * 4, 4);
}

const struct mlx_dsp mlx_reference = {
    .pack = {[2] = mlx_pack2, [3] = mlx_pack3, [4] = mlx_pack4, [5] = mlx_pack5, [6] = mlx_pack6, [8] = mlx_pack8},
    .transpose = mlx_transpose,
};

unsigned mlx_bits(unsigned bits)
{
	return bits < 2 ? 2 : bits == 7 ? 8 : bits;
}

bool mlx_is_exact(float scale)
{
	const uint32_t magnitude = bits_of_float(scale) & 0x7fffffff;

	return (magnitude & 0xff) == 0 && magnitude < bits_of_float(0x1p111f);
}

void mlx_init(struct mlx_dsp *dsp)
{
	*dsp = mlx_reference;
}
