/* SPDX-License-Identifier: MIT */

/* Blocks of GGUF from codes along rows, if blocks hold the stored codes in other places. */

#include <string.h>

#include "kernel/element.h"
#include "quant/affine.h"

/* Blocks whose scales are looked up together. */
#define AFFINE_BLOCKS 64

/* The codes of blocks, wherever they lie in a row, and how many of them. */
struct affine_run {
	const struct affine_matrix *m;
	uint32_t n, k;
	size_t blocks;
};

/* Q8_0 has a byte for each code: the stored one. */
static void affine_q8_0(unsigned char *dst, const unsigned char *codes, const uint16_t *scale, size_t blocks)
{
	for (size_t b = 0; b < blocks; b++, dst += 34) {
		memcpy(dst, &scale[b], 2);
		memcpy(dst + 2, codes + b * 32, 32);
	}
}

static void affine_run_blocks(const struct affine_run *run, const struct kernels *k, enum gguf_block type,
    unsigned char *dst)
{
	const struct affine_matrix *m = run->m;
	const unsigned char *codes = m->codes + run->n * m->row_bytes + (size_t)run->k * m->bits / 8;
	uint16_t scale[AFFINE_BLOCKS];

	for (size_t b = 0; b < run->blocks;) {
		const uint32_t column = run->k + (uint32_t)b * 32, g = column / m->block_columns;
		const uint16_t half = element_half(m->scales, affine_scale_index(m, run->n, g), m->scale_dtype);
		const size_t left = (m->block_columns - column % m->block_columns) / 32, end = b + left;

		while (b < run->blocks && b < end)
			scale[b++] = half;
	}
	if (type == GGUF_Q4_0)
		k->gguf.nibbles(dst, codes, scale, run->blocks);
	else
		affine_q8_0(dst, codes, scale, run->blocks);
}

/* All zeros of codes that fit so narrow a type are the middle. */
bool affine_blocks(const struct encoded *e, const struct kernels *k, enum gguf_block type, void *dst,
    const struct kernel_rect *r)
{
	const struct affine_matrix *m = &((const struct affine_module *)e)->m;
	const bool nibbles = type == GGUF_Q4_0 && m->bits == 4 && m->packing != AFFINE_SIGNED;
	const bool bytes = type == GGUF_Q8_0 && m->packing == AFFINE_SIGNED && m->offset == AFFINE_MIDDLE;
	const uint32_t end = r->column0 + r->columns, most = AFFINE_BLOCKS * 32;
	unsigned char *to = dst;

	if ((!nibbles && !bytes) || m->g_idx)
		return false;
	for (uint32_t n = r->row0; n < r->row0 + r->rows; n++)
		for (uint32_t column = r->column0; column < end; column += most) {
			const struct affine_run run = {m, n, column, (end - column < most ? end - column : most) / 32};

			affine_run_blocks(&run, k, type, to);
			to += run.blocks * gguf_layout(type)->bytes;
		}
	return true;
}
