/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_INDEX_H
#define GPTQFS_INDEX_H

/* model.safetensors.index.json: {"metadata": {...}, "weight_map": {tensor: shard}}. */

#include "base/arena.h"
#include "base/json.h"
#include "gptqfs.h"

struct index_entry {
	const char *tensor;
	uint32_t shard; /* index into shards */
};

struct index {
	struct index_entry *entries; /* by tensor name, bytewise, each once */
	size_t count;
	const char **shards; /* by name, each once; relative, inside the model directory by their spelling */
	size_t shard_count;
};

#define INDEX_SHARDS_MAX 100000
#define INDEX_ENTRIES_MAX 1000000 /* the largest models have some 300,000 tensors */

/*
 * Parses an index. `name` is the file, for messages; shard names are relative to it and get its directory in front.
 * Everything in *out lives in the arena. -EBADMSG for anything but a map of names to relative paths without "..".
 */
int index_parse(struct json_text text, const char *name, struct arena *arena, struct index *out,
    struct gptqfs_error *err);

/* The shard of a tensor, or -1 if the index does not list it. */
int64_t index_find(const struct index *index, const char *tensor);

#endif
