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
	struct index_entry *entries; /* sorted by tensor name, bytewise, unique */
	size_t count;
	const char **shards; /* sorted, unique; relative paths without ".." */
	size_t shard_count;
};

#define INDEX_SHARDS_MAX 100000
#define INDEX_ENTRIES_MAX 1000000 /* the largest models have some 300,000 tensors */

/*
 * Parses an index. `name` is the file, for messages; its directory is prepended to shard names. Everything in *out
 * lives in the arena. -EBADMSG for anything but a map of names to relative paths without "..".
 */
int index_parse(struct json_text text, const char *name, struct arena *arena, struct index *out,
    struct gptqfs_error *err);

/* Returns the shard of a tensor, or -1 if the index does not list it. */
int64_t index_find(const struct index *index, const char *tensor);

#endif
