/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DENSE_H
#define GPTQFS_DENSE_H

/*
 * One tensor of the ordinary model in a file with one float type: decoded or cast, verbatim if it has that type already
 * or is not of a float type at all, part after part if it is joined.
 */

#include "kernel/kernels.h"
#include "tensor/tensor.h"
#include "tree/layout.h"

/* Where the bytes come from, and what they become. */
struct dense {
	struct checkpoint *c;
	const struct kernels *kernels;
	enum dtype dtype; /* of everything that is of a float type */
};

/*
 * The type a tensor has in a view of the given one. A type that is not cast stays, and so does the F32 of a router's
 * e_score_correction_bias: its classes keep it so in a 16-bit model, and experts are chosen by its last bits.
 */
enum dtype dense_dtype(const struct tensor *t, enum dtype view);

/* The tensor as a safetensors header lists it; `begin` is left 0. */
struct st_tensor dense_shown(const struct dense *d, const struct tensor *t);

/* The number of extents dense_append adds. */
size_t dense_extents(const struct tensor *t);

/* Appends the tensor's bytes to a layout that has room for its extents. Generators live in the checkpoint's arena, one
 * for each module and type, however many files show it. Returns 0 or -ENOMEM. Not thread-safe. */
int dense_append(const struct dense *d, const struct tensor *t, struct layout *layout);

#endif
