/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ZEROS_H
#define GPTQFS_ZEROS_H

/*
 * Checkpoints with wrongly stored v1 zeros. Kernels for symmetric models never look at qzeros, so bugs in writers went
 * unnoticed: v2 zeros under a v1 label (GPTQModel in September 2025), 3-bit zeros shifted by the three word constants
 * in reverse (GPTQModel 0.9 to 6.0.3), and modules of other widths shifted by the constant of the base width (GPTQModel
 * before 7.3.2). Each leaves a unique pattern in a symmetric module, whose zeros are then known to be the middle value;
 * in others only the writer's version tells.
 */

#include <stdint.h>

#include "kernel/gptq/gptq.h"

/* Properties of the first row of zeros. */
struct zeros_finding {
	bool middle;       /* every zero is 1 << (bits - 1) */
	const char *fault; /* the known fault that would explain it, or NULL */
};

/*
 * Examines row 0 of qzeros, copied to `row`. base_bits is the width in the configuration for the whole model, or 0.
 * Returns 0 or -ENOMEM.
 */
int zeros_examine(const struct qtensor *q, const unsigned char *row, int64_t base_bits, struct zeros_finding *out);

/* What a faulty writer subtracted from words 0, 1, 2, 0, 1, 2, ... of a row, instead of one from each field. */
struct zeros_shift {
	const char *fault;
	int64_t base_bits; /* only if the model's base width is this and the module's is another; 0: always */
	int bits;          /* only for modules of this width; 0: any */
	uint32_t words[3];
};

#define ZEROS_CURED 70302 /* the first version of GPTQModel that shifts none */

/*
 * Finds the shift of v1 zeros by a version of GPTQModel, as in struct quant_config; NULL if they are what the format
 * says. Returns 0, or -ENOTSUP if that version may have written either.
 */
int zeros_find_shift(uint32_t gptqmodel, int64_t base_bits, int bits, const struct zeros_shift **out);

/* Undoes a shift, which makes the words of a row those of v2 zeros. */
void zeros_unshift(unsigned char *row, size_t words, const struct zeros_shift *shift);

#endif
