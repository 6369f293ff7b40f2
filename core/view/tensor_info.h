/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TENSOR_INFO_H
#define GPTQFS_TENSOR_INFO_H

/*
 * NAME.info in tensors/: a line that says what NAME is, then "Key: value" lines in a fixed order; new keys are only
 * added at the end of a section. ASCII only; other bytes of names are escaped by text_ascii.
 */

#include "tensor/dense.h"

/* The contents of the files called NAME. */
struct tensor_info {
	const struct tensor *tensor;
	const struct tensor *bias; /* bias that is also in NAME.safetensors, or NULL */
	const struct dense *dense; /* of NAME.safetensors */
	const struct dense *npy;   /* of NAME.npy; differs if numpy has no such type */
};

/* Returns the type of NAME.npy, or DTYPE_COUNT if numpy has none. */
enum dtype tensor_info_npy(const struct tensor_info *info);

void tensor_info_write(const struct tensor_info *info, struct text *out);

#endif
