/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SHARDS_H
#define GPTQFS_SHARDS_H

/*
 * The weights of a model directory as Hugging Face's save_pretrained lays them out: one model.safetensors, or shards of
 * about 5 GB, which are numbered, with their index. What the tensors are, and where their bytes come from, is the
 * business of whoever has them.
 */

#include "safetensors.h"
#include "tree.h"

struct shards {
	struct tree *tree;
	uint32_t dir;            /* where the files go */
	const struct stat *like; /* whose owner, permissions and times they have */
	struct st_tensor
	    *shown; /* [count] as the headers list them, in the order of the files; not needed afterwards */
	size_t count;
	/* How many extents tensor i has, and appends them. The latter gives 0 or -errno. */
	size_t (*extents)(const void *tensors, size_t i);
	int (*append)(const void *tensors, size_t i, struct layout *layout);
	const void *tensors;
};

/* Adds the files. Returns 0 or -errno. */
int shards_add(const struct shards *s);

#endif
