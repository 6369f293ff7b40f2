/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SCALED_H
#define GPTQFS_SCALED_H

/*
 * Weights that are stored in a type of at most eight bits, to be multiplied by a scale beside them. Producers
 * spell that scale in many ways; shown without it, weights would be wrong and look right. What no family takes must be
 * refused, so this errs on the side of finding too much.
 */

#include "checkpoint/checkpoint.h"

struct scaled {
	const struct st_tensor *weight, *scale;
};

/*
 * Finds the first such weight and what looks like its scale among the tensors that no family took (`taken` has an entry
 * for each tensor of the checkpoint). Returns 1 if there is one, 0 if not, -ENOMEM.
 */
int scaled_find(const struct checkpoint *c, const bool *taken, struct scaled *out);

#endif
