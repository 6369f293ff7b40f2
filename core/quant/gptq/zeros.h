/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ZEROS_H
#define GPTQFS_ZEROS_H

/*
 * Symmetric checkpoints whose zeros are stored wrongly. Kernels for symmetric models never look at qzeros, so faults
 * of writers went unnoticed: v2 zeros under a v1 label (GPTQModel in September 2025), 3-bit zeros shifted by the
 * three word constants in reverse (GPTQModel 0.9 to 6.0.3), and modules of other widths shifted by the constant of
 * the base width (GPTQModel before 7.3.2). Each leaves a pattern that nothing else leaves; then the zeros are known
 * to be the middle value.
 */

#include "kernel/gptq.h"

/* What the first row of zeros looks like. */
struct zeros_finding {
	bool middle;       /* every zero is 1 << (bits - 1) */
	const char *fault; /* the known fault under which it would be, or NULL */
};

/*
 * Looks at row 0 of qzeros, whose words are at `row` (private memory, as many as a row has). base_bits is the width
 * the configuration gives for the whole model, or 0. Returns 0 or -ENOMEM.
 */
int zeros_examine(const struct qtensor *q, const unsigned char *row, int64_t base_bits, struct zeros_finding *out);

#endif
