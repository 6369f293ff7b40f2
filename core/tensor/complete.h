/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_COMPLETE_H
#define GPTQFS_COMPLETE_H

/*
 * Detects missing weights without an index: transformers would initialize them randomly, with at most a warning. Only a
 * model that no class can run is refused; hybrid and pruned models lack modules in some layers by design.
 */

#include "tensor/tensor.h"

/*
 * Refuses a model if a layer has no tensors at all, or if the embedding or the final norm is missing and its class is
 * known to have one. Warns about layers that lack a tensor all others have. Silent if config.json does not give the
 * number of layers. Returns 0, -EBADMSG or -ENOMEM.
 */
int complete_check(struct checkpoint *c, const struct tensors *ts, struct gptqfs_error *err);

#endif
