/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TENSOR_INFO_H
#define GPTQFS_TENSOR_INFO_H

/*
 * NAME.info in tensors/: one line that says what NAME is, then "Key: value" lines in a fixed order, new keys only at
 * the end of a part. All of it is ASCII; odd bytes of names are written as text_ascii does.
 */

#include "tensor/dense.h"

/* What the files called NAME show. */
struct tensor_info {
	const struct tensor *tensor;
	const struct tensor *bias; /* also in NAME.safetensors, or NULL */
	const struct dense *dense; /* of NAME.safetensors */
	const struct dense *npy;   /* of NAME.npy; differs where the type has no name in numpy */
};

/* The type of NAME.npy, or DTYPE_COUNT if numpy has none. */
enum dtype tensor_info_npy(const struct tensor_info *info);

void tensor_info_write(const struct tensor_info *info, struct text *out);

#endif
