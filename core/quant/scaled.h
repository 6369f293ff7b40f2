/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SCALED_H
#define GPTQFS_SCALED_H

/*
 * Detects weights in integers or a type of at most eight bits with a separate scale. Producers name the scale in many
 * ways; shown without it, weights would look right but be wrong. Those that no family takes must be refused, so this
 * errs on the side of finding too much.
 */

#include "checkpoint/checkpoint.h"

struct scaled {
	const struct st_tensor *weight, *scale;
};

/*
 * Finds the first such weight, and its likely scale, among the tensors that no family took (`taken` has an entry per
 * tensor of the checkpoint). Returns 1 if there is one, 0 if not, or -ENOMEM.
 */
int scaled_find(const struct checkpoint *c, const bool *taken, struct scaled *out);

#endif
