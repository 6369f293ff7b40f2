/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ZEROS_H
#define GPTQFS_ZEROS_H

/*
 * Symmetric checkpoints with wrongly stored zeros. Kernels for symmetric models never look at qzeros, so bugs in
 * writers went unnoticed: v2 zeros under a v1 label (GPTQModel in September 2025), 3-bit zeros shifted by the three
 * word constants in reverse (GPTQModel 0.9 to 6.0.3), and modules of other widths shifted by the constant of the base
 * width (GPTQModel before 7.3.2). Each leaves a unique pattern; the zeros are then known to be the middle value.
 */

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

#endif
