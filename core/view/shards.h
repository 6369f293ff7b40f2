/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SHARDS_H
#define GPTQFS_SHARDS_H

/*
 * The weights of a model directory as Hugging Face's save_pretrained lays them out: one STEM.safetensors, or shards of
 * about 5 GB, which are numbered, with their index. What the tensors are, and where their bytes come from, is the
 * business of the caller.
 */

#include "checkpoint/safetensors.h"
#include "tree/tree.h"

/* Lives as long as the files: their headers, which may be long, are written when they are read. */
struct shards {
	struct tree *tree;
	uint32_t dir;            /* where the files go */
	const struct stat *like; /* whose owner, permissions and times they have; only while they are added */
	const char *stem;        /* of the files' names: "model" */
	uint64_t shard_bytes;    /* the most tensors of one shard may have together, unless it is one; 0: 5 GB */
	const void *tensors;
	size_t count;        /* of the tensors */
	uint64_t parameters; /* that the index tells; 0 for as many as there are elements */
	/* Tensor i as a header lists it; `begin` is ignored. The order is that of the files. */
	struct st_tensor (*shown)(const void *tensors, size_t i);
	/* How many extents it has, and appends them. The latter gives 0 or -errno. */
	size_t (*extents)(const void *tensors, size_t i);
	int (*append)(const void *tensors, size_t i, struct layout *layout);
};

/* Adds the files. Returns 0 or -errno. */
int shards_add(const struct shards *s);

#endif
