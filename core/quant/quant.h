/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_QUANT_H
#define GPTQFS_QUANT_H

/* Turns a checkpoint into the tensors of the ordinary model: the table of families, and refusals. */

#include "tensor/tensor.h"

/*
 * Lets every family take its modules, adds the remaining tensors as stored, and renames and joins tensors as the class
 * expects. Everything in *out lives in the checkpoint's arena. Codes of gptqfs_open: -ENOTSUP, with the name of an
 * unsupported format, or if nothing is quantized.
 */
int quant_open(struct checkpoint *c, struct tensors *out, struct gptqfs_error *err);

#endif
