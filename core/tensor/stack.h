/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_STACK_H
#define GPTQFS_STACK_H

/* Stacks experts that were saved separately into one tensor, as the class reads them: struct stacked. */

#include "checkpoint/checkpoint.h"
#include "tensor/tensor.h"

/*
 * Replaces the experts of each layer by stacks, if the class has stacks and the experts are complete and alike. Warns
 * if they are not, or if what the class reads is unknown: without its stack, a class silently starts with random
 * experts. The list must be sorted. Returns 0 or -ENOMEM.
 */
int stack_experts(struct checkpoint *c, struct tensors *ts);

#endif
