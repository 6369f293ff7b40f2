/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_COMPLETE_H
#define GPTQFS_COMPLETE_H

/*
 * Weights that are missing although no index tells: transformers would start them at random, with a warning at most.
 * Only what no class can do without is refused; hybrid and pruned models lack modules in some layers by design.
 */

#include "tensor/tensor.h"

/*
 * Refuses a model one of whose layers has no tensor at all, or which lacks the embedding or the last norm of a class
 * known to have them. Warns of layers that lack a tensor which all others have. Says nothing where config.json does not
 * tell the number of layers. Returns 0, -EBADMSG or -ENOMEM.
 */
int complete_check(struct checkpoint *c, const struct tensors *ts, struct gptqfs_error *err);

#endif
