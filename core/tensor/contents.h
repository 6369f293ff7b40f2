/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CONTENTS_H
#define GPTQFS_CONTENTS_H

/* What a file of weights holds, for attributes. */

#include "tensor/tensor.h"
#include "tree/layout.h"

struct contents {
	const struct tensor *tensor; /* the first, or the first quantized one of its module */
	uint32_t tensors;            /* how many */
	bool several;                /* of more than one module: then the file describes none */
	const char *dtype;           /* of its floats, or NULL if they have several */
};

/* Notes that the file holds a tensor with elements of that type; DTYPE_COUNT if they are not all of one. Returns 0 or
 * -ENOMEM. */
int contents_note(struct layout *layout, struct arena *arena, const struct tensor *t, enum dtype dtype);

#endif
