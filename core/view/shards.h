/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SHARDS_H
#define GPTQFS_SHARDS_H

/*
 * The weights of a model directory in the layout of Hugging Face's save_pretrained: one STEM.safetensors, or numbered
 * shards of about 5 GB with their index. The caller supplies the tensors and their bytes.
 */

#include "checkpoint/safetensors.h"
#include "tree/tree.h"

/* Lives as long as the files: headers, which may be long, are generated when read. */
struct shards {
	struct tree *tree;
	uint32_t dir;            /* where the files go */
	const struct stat *like; /* owner, permissions and times of the files; used only by shards_add */
	const char *stem;        /* beginning of the files' names: "model" */
	uint64_t shard_bytes;    /* limit of a shard with more than one tensor; 0: 5 GB */
	const void *tensors;
	size_t count;        /* number of tensors */
	uint64_t parameters; /* shown in the index; 0 for the number of elements */
	/* Returns tensor i, in file order, as a header lists it; `begin` is ignored. */
	struct st_tensor (*shown)(const void *tensors, size_t i);
	/* Return the number of a tensor's extents; append them, and return 0 or -errno. */
	size_t (*extents)(const void *tensors, size_t i);
	int (*append)(const void *tensors, size_t i, struct layout *layout);
};

/* Adds the files. Returns 0 or -errno. */
int shards_add(const struct shards *s);

#endif
