/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_REPLACEMENT_H
#define GPTQFS_REPLACEMENT_H

/* Builds a list of tensors from another by replacing some of them. */

#include "tensor/tensor.h"

struct replacement {
	const struct tensors *ts; /* the old list */
	struct tensor *made;      /* [ts->count] */
	size_t made_count;
	bool *used; /* [ts->count] replaced tensors */
	size_t used_count;
};

/* Returns 0 or -ENOMEM. */
int replacement_begin(struct replacement *r, struct arena *arena, const struct tensors *ts);

/* Marks a tensor of the old list as replaced. */
void replacement_use(struct replacement *r, const struct tensor *t);

/* Writes the new list, sorted, to *out, which may be the old list. Returns 0 or -ENOMEM. */
int replacement_finish(const struct replacement *r, struct arena *arena, struct tensors *out);

#endif
