/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_STACK_H
#define GPTQFS_STACK_H

/* Experts that were saved one by one, in one tensor as the class reads them: struct stacked. */

#include "checkpoint/checkpoint.h"
#include "tensor/tensor.h"

/*
 * Replaces the experts of each layer by stacks, where the class has stacks and the experts are complete and alike.
 * Warns where they are not, and where it is not known what the class reads: a class that finds no stack starts with
 * random experts and says nothing. The list must be sorted. Returns 0 or -ENOMEM.
 */
int stack_experts(struct checkpoint *c, struct tensors *ts);

#endif
