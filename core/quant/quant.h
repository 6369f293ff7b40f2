/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_QUANT_H
#define GPTQFS_QUANT_H

/* From a checkpoint to the tensors of the ordinary model: the table of families, and refusals. */

#include "tensor/tensor.h"

/*
 * Has every family take what is its own, adds what is left as stored, and gives all of it the names and joins that the
 * class wants. Everything in *out lives in the checkpoint's arena. Codes as gptqfs_open: -ENOTSUP with the name of a
 * format that is not served, or if nothing is quantized.
 */
int quant_open(struct checkpoint *c, struct tensors *out, struct gptqfs_error *err);

#endif
