/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_KERNEL_GGUF_H
#define GPTQFS_KERNEL_GGUF_H

/*
 * Blocks of GGUF: the layout of ggml's Q2_0, Q4_0, Q5_0 and Q8_0, filled from weights that are scale * (code - zero).
 * Each block holds one fp16 scale d and fields c of its weights:
 *
 *     Q4_0, Q5_0, Q8_0   w = d * (c - 8), d * (c - 16), d * (int8)c: d is the scale, c - 8 etc. is code - zero
 *     Q2_0               w = d * (c - 1): c is the code and d the scale if the zero is 1; 3 - code and -scale if 2
 *
 * Nothing is rounded: a caller chooses a type that holds every code - zero, and whose blocks share zero and scale,
 * which is an fp16. Then ggml's fp32 product has the bits of the fp32 view, except for the sign of zero in Q2_0 with
 * -scale.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/gptq/gptq.h"
#include "kernel/rect.h"

enum gguf_block { GGUF_Q2_0, GGUF_Q4_0, GGUF_Q5_0, GGUF_Q8_0, GGUF_BLOCKS };

/* A type as ggml.h defines it. */
struct gguf_layout {
	const char *name;
	uint32_t id, file_type;  /* in tensor infos, and in general.file_type */
	uint32_t weights, bytes; /* of a block */
	int32_t low, high;       /* range of code - zero */
};

const struct gguf_layout *gguf_layout(enum gguf_block type);

/*
 * A row of weights. Levels are code - zero times 2^-24, the smallest fp16, so each is a sign and a magnitude. Kernels
 * that decode weights write them when given 2^-24 for every scale.
 */
struct gguf_row {
	const uint16_t *level; /* fp16 [blocks * weights] */
	const uint16_t *scale; /* fp16 [blocks] */
	const uint8_t *zero;   /* [blocks] for Q2_0, else NULL */
};

/* Writes exactly `blocks` blocks, without gaps. dst may be unaligned. */
typedef void gguf_fn(void *dst, const struct gguf_row *w, size_t blocks);

/* The C reference. */
extern gguf_fn *const gguf_reference[GGUF_BLOCKS];

/*
 * Writes blocks straight from the words of a GPTQ matrix for which gguf_gptq_fits and whose codes the type holds:
 * exactly a rectangle, whose columns begin and end at multiples of 32, without gaps.
 */
typedef void gguf_gptq_fn(void *dst, const struct qtensor *q, const struct kernel_rect *r);

/* True for 4 bits, of Q8_0 8 bits, in 32-bit words with fp16 scales for whole blocks. */
bool gguf_gptq_fits(const struct qtensor *q, enum gguf_block type);

/* The C reference: Q4_0, Q5_0 and Q8_0. */
extern gguf_gptq_fn *const gguf_gptq_reference[GGUF_BLOCKS];

/*
 * Blocks of Q4_0 from codes of 4 bits whose zero is 8, in the order of their row, lowest nibble first; a scale, an
 * fp16, for each block.
 */
typedef void gguf_nibbles_fn(void *dst, const unsigned char *codes, const uint16_t *scale, size_t blocks);

/* The C reference. */
extern gguf_nibbles_fn *const gguf_nibbles_reference;

/* The kernels of one CPU level. */
struct gguf_dsp {
	gguf_fn *pack[GGUF_BLOCKS];
	gguf_nibbles_fn *nibbles;
	gguf_gptq_fn *gptq[GGUF_BLOCKS]; /* NULL if going by way of levels is as fast */
};

#define GGUF_UNIT 1 /* 2^-24 as fp16 */

/* Fills the table with the C reference. */
void gguf_init(struct gguf_dsp *dsp);

/* Each overrides the slots that its instruction set speeds up. Call only if cpu_detect() allows it. */
void gguf_init_vector(struct gguf_dsp *dsp);
void gguf_init_avx2(struct gguf_dsp *dsp);
void gguf_init_avx512(struct gguf_dsp *dsp);

#endif
