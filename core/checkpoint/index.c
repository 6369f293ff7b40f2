/* SPDX-License-Identifier: MIT */
#include "checkpoint/index.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

static int compare_entries(const void *a, const void *b)
{
	return strcmp(((const struct index_entry *)a)->tensor, ((const struct index_entry *)b)->tensor);
}

static int index_compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* True for relative paths without empty parts, "." and "..": they cannot leave the directory. */
static bool is_plain_path(const char *path)
{
	while (*path) {
		size_t len = strcspn(path, "/");

		if (!len || (len == 1 && path[0] == '.') || (len == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		path += len;
		if (*path == '/' && !*++path)
			return false;
	}
	return true;
}

static int find_weight_map(struct json_text text, const char *name, struct json_walk *map, struct gptqfs_error *err)
{
	struct json_walk walk;
	struct json_member m;
	int found = 0;

	if (json_walk(&walk, text))
		while (json_next(&walk, &m))
			if (json_text_is(m.key, "weight_map"))
				found += json_walk(map, m.value) ? 1 : 2;
	if (found == 1)
		return 0;
	return err_set(err, -EBADMSG, "%s: expected one object \"weight_map\"; fetch the file again", name);
}

/* Skips a leading "./", which some writers add. */
static const char *skip_here(const char *path)
{
	while (path[0] == '.' && path[1] == '/')
		path += 2;
	return path;
}

/* Sorts shards[], initially the shard of each entry, removes duplicates, and numbers the entries accordingly. */
static int number_shards(struct index *index, struct arena *arena)
{
	const char **sorted = arena_alloc(arena, index->count + 1, sizeof(*sorted));
	size_t n = 0;

	if (!sorted)
		return -ENOMEM;
	memcpy(sorted, index->shards, index->count * sizeof(*sorted));
	qsort(sorted, index->count, sizeof(*sorted), index_compare_names);
	for (size_t i = 0; i < index->count; i++)
		if (!n || strcmp(sorted[n - 1], sorted[i]) != 0)
			sorted[n++] = sorted[i];
	for (size_t i = 0; i < index->count; i++) {
		const char **found = bsearch(&index->shards[i], sorted, n, sizeof(*sorted), index_compare_names);

		index->entries[i].shard = (uint32_t)(found - sorted);
	}
	index->shards = sorted;
	index->shard_count = n;
	return 0;
}

static int parse_entries(struct json_walk map, const char *name, struct arena *arena, struct index *out,
    struct gptqfs_error *err)
{
	const char *slash = strrchr(name, '/');
	const int dir = slash ? (int)(slash + 1 - name) : 0;
	struct json_text last = {0};
	const char *named = NULL;
	struct json_member m;

	for (size_t i = 0; json_next(&map, &m); i++) {
		/* Most entries name the same shard as the one before. */
		const bool again = i && m.value.len == last.len && memcmp(m.value.at, last.at, last.len) == 0;
		const char *shard = again ? named : json_string(m.value, arena);

		last = m.value;
		named = shard;
		if (shard || errno != ENOMEM)
			out->entries[i].tensor = json_string(m.key, arena);
		if (!out->entries[i].tensor && errno == ENOMEM)
			return err_memory(err);
		if (!out->entries[i].tensor || !shard)
			return err_set(err, -EBADMSG,
			    "%s: weight_map is not a map of names to file names; fetch it again", name);
		shard = skip_here(shard);
		if (!*shard || !is_plain_path(shard))
			return err_set(err, -EBADMSG,
			    "%s: weight_map puts tensor %.200s into \"%.200s\": expected a file inside the model directory; do not "
			    "trust this model, or correct the path",
			    name, out->entries[i].tensor, shard);
		out->shards[i] = again ? out->shards[i - 1]
		                 : dir ? arena_printf(arena, "%.*s%s", dir, name, shard)
		                       : shard;
		if (!out->shards[i])
			return err_memory(err);
	}
	return 0;
}

int index_parse(struct json_text text, const char *name, struct arena *arena, struct index *out,
    struct gptqfs_error *err)
{
	struct json_walk map, count;
	struct json_member m;
	int rc = json_check(text, name, err);

	*out = (struct index){0};
	if (rc == 0)
		rc = find_weight_map(text, name, &map, err);
	if (rc)
		return rc;
	count = map;
	while (json_next(&count, &m))
		out->count++;
	if (out->count > INDEX_ENTRIES_MAX)
		return err_set(err, -EBADMSG, "%s: %zu tensors, expected at most %d; this is not an index of a model",
		    name, out->count, INDEX_ENTRIES_MAX);
	if (!out->count)
		return err_set(err, -EBADMSG, "%s: weight_map lists no tensors; fetch the file again", name);
	out->entries = arena_alloc(arena, out->count, sizeof(*out->entries));
	out->shards = arena_alloc(arena, out->count, sizeof(*out->shards));
	if (!out->entries || !out->shards)
		return err_memory(err);
	rc = parse_entries(map, name, arena, out, err);
	if (rc)
		return rc;
	if (number_shards(out, arena))
		return err_memory(err);
	qsort(out->entries, out->count, sizeof(*out->entries), compare_entries);
	for (size_t i = 1; i < out->count; i++)
		if (strcmp(out->entries[i - 1].tensor, out->entries[i].tensor) == 0)
			return err_set(err, -EBADMSG, "%s: weight_map lists tensor %.200s twice; remove one", name,
			    out->entries[i].tensor);
	if (out->shard_count > INDEX_SHARDS_MAX)
		return err_set(err, -EBADMSG, "%s: %zu shards, expected at most %d", name, out->shard_count,
		    INDEX_SHARDS_MAX);
	return 0;
}

int64_t index_find(const struct index *index, const char *tensor)
{
	const struct index_entry key = {.tensor = tensor};
	const struct index_entry *e =
	    index->count ? bsearch(&key, index->entries, index->count, sizeof(key), compare_entries) : NULL;

	return e ? (int64_t)e->shard : -1;
}
