/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CONTENTS_H
#define GPTQFS_CONTENTS_H

/* The contents of a file of weights, for its attributes. */

#include "tensor/tensor.h"
#include "tree/layout.h"

struct contents {
	const struct tensor *tensor; /* the first, or the first quantized one of the module */
	uint32_t tensors;            /* number of tensors */
	bool several;                /* from several modules: attributes then describe none */
	const char *dtype;           /* of the floats, or NULL if they have several */
};

/* Adds a tensor with elements of a type, or DTYPE_COUNT if they have several. Returns 0 or -ENOMEM. */
int contents_note(struct layout *layout, struct arena *arena, const struct tensor *t, enum dtype dtype);

#endif
