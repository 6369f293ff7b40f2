/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_KERNEL_GGUF_H
#define GPTQFS_KERNEL_GGUF_H

/*
 * Blocks of GGUF: the layout of ggml's Q2_0, Q4_0, Q5_0 and Q8_0, filled from weights that are
 * scale * (code - zero). Each block holds one fp16 scale d and fields c of its weights:
 *
 *     Q4_0, Q5_0, Q8_0   w = d * (c - 8), d * (c - 16), d * (int8)c: d is the scale, c - 8 etc. is code - zero
 *     Q2_0               w = d * (c - 1): c is the code and d the scale if the zero is 1; 3 - code and -scale if it is
 * 2
 *
 * Nothing is rounded: a caller chooses a type that holds every code - zero, and whose blocks share zero and scale,
 * which is an fp16. Then ggml's fp32 product has the bits of the fp32 view, but for the sign of zero in Q2_0 with
 * -scale.
 */

#include <stddef.h>
#include <stdint.h>

enum gguf_block { GGUF_Q2_0, GGUF_Q4_0, GGUF_Q5_0, GGUF_Q8_0, GGUF_BLOCKS };

/* What ggml.h says of a type. */
struct gguf_layout {
	const char *name;
	uint32_t id, file_type;  /* in tensor infos, and in general.file_type */
	uint32_t weights, bytes; /* of a block */
	int32_t low, high;       /* what code - zero it holds */
};

const struct gguf_layout *gguf_layout(enum gguf_block type);

/* Weights one after another; zero and scale are the same for all of a block. */
struct gguf_weights {
	const uint8_t *code, *zero;
	const float *scale;
};

/* Writes blocks, without gaps, and not a byte beyond. dst need not be aligned. */
typedef void gguf_fn(void *dst, const struct gguf_weights *w, size_t blocks);

/* The C reference. */
extern gguf_fn *const gguf_reference[GGUF_BLOCKS];

/* The kernels of one CPU level. */
struct gguf_dsp {
	gguf_fn *pack[GGUF_BLOCKS];
};

/* Fills the table with the C reference. */
void gguf_init(struct gguf_dsp *dsp);

#endif
