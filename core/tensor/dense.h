/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DENSE_H
#define GPTQFS_DENSE_H

/*
 * A tensor of the ordinary model in a file with one float type: decoded or cast, copied if it already has that type or
 * is not a float, part by part if it is joined.
 */

#include "kernel/kernels.h"
#include "tensor/tensor.h"
#include "tree/layout.h"

/* Source and target of the conversion. */
struct dense {
	struct checkpoint *c;
	const struct kernels *kernels;
	enum dtype dtype; /* of all float tensors */
};

/*
 * Returns the type of a tensor in a view of type `dtype`. Types that are not cast stay, and so does an F32
 * e_score_correction_bias of a router: classes keep it F32 in a 16-bit model, because its last bits decide between
 * experts.
 */
enum dtype dense_dtype(const struct tensor *t, enum dtype view);

/* Returns the tensor's entry for a safetensors header; `begin` is 0. */
struct st_tensor dense_shown(const struct dense *d, const struct tensor *t);

/* Makes the rows, in d->dtype, of a float tensor that does not consist of others. Returns 0 or -ENOMEM. */
int dense_rows(const struct dense *d, const struct tensor *t, const struct generator **g);

/* Returns the number of extents that dense_append adds. */
size_t dense_extents(const struct tensor *t);

/*
 * Appends the tensor's bytes to a layout with room for its extents. Generators live in the checkpoint's arena, one per
 * module and type, shared by all files. Returns 0 or -ENOMEM. Not thread-safe.
 */
int dense_append(const struct dense *d, const struct tensor *t, struct layout *layout);

#endif
