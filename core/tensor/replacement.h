/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_REPLACEMENT_H
#define GPTQFS_REPLACEMENT_H

/* A list of tensors in the making: some of another list are replaced by what is made of them. */

#include "tensor/tensor.h"

struct replacement {
	const struct tensors *ts; /* the list it starts from */
	struct tensor *made;      /* [ts->count] */
	size_t made_count;
	bool *used; /* [ts->count] those that are part of what was made */
	size_t used_count;
};

/* Returns 0 or -ENOMEM. */
int replacement_begin(struct replacement *r, struct arena *arena, const struct tensors *ts);

/* Marks a tensor of the list as used. */
void replacement_use(struct replacement *r, const struct tensor *t);

/* Writes the new list, sorted, to *out, which may be the old one. Returns 0 or -ENOMEM. */
int replacement_finish(const struct replacement *r, struct arena *arena, struct tensors *out);

#endif
