/* SPDX-License-Identifier: MIT */
#include "shards.h"

#include <errno.h>

#define SHARD_BYTES ((uint64_t)5000000000) /* the convention of save_pretrained */

/* The first tensor of the shard after the one that begins with tensor `first`. */
static size_t end_of_shard(const struct shards *s, size_t first)
{
	uint64_t bytes = 0;
	size_t i = first;

	for (; i < s->count && (!bytes || bytes + s->shown[i].bytes <= SHARD_BYTES); i++)
		bytes += s->shown[i].bytes;
	return i;
}

static const char *shard_name(const struct shards *s, size_t number, size_t of)
{
	return of == 1 ? "model.safetensors"
	               : arena_printf(s->tree->arena, "model-%05zu-of-%05zu.safetensors", number, of);
}

/* One safetensors file of the tensors [first, end). */
static int add_shard(const struct shards *s, const char *name, size_t first, size_t end)
{
	struct arena *arena = s->tree->arena;
	struct layout *layout = arena_alloc(arena, 1, sizeof(*layout));
	struct text header = {0};
	size_t extents = 1, len;
	char *bytes;
	int rc = 0;

	for (size_t i = first; i < end; i++)
		extents += s->extents(s->tensors, i);
	safetensors_write(s->shown + first, end - first, &header);
	bytes = header.failed ? NULL : arena_strndup(arena, header.data, header.len);
	len = header.len;
	text_free(&header);
	if (!layout || !name || !bytes || layout_reserve(layout, arena, extents))
		return -ENOMEM;
	layout_add_bytes(layout, bytes, len);
	for (size_t i = first; rc == 0 && i < end; i++)
		rc = s->append(s->tensors, i, layout);
	if (rc == 0 && !tree_add(s->tree, s->dir, name, layout, s->like))
		rc = -ENOMEM;
	return rc;
}

static void write_totals(const struct shards *s, struct text *text)
{
	uint64_t bytes = 0, elements = 0;

	for (size_t i = 0; i < s->count; i++) {
		bytes += s->shown[i].bytes;
		elements += s->shown[i].bytes * 8 / dtype_bits(s->shown[i].dtype);
	}
	text_printf(text, "  \"metadata\": {\n    \"total_parameters\": %llu,\n    \"total_size\": %llu\n  },\n",
	    (unsigned long long)elements, (unsigned long long)bytes);
}

static int add_index(const struct shards *s, size_t of)
{
	struct text text = {0};
	size_t number = 0, end = 0;

	text_printf(&text, "{\n");
	write_totals(s, &text);
	text_printf(&text, "  \"weight_map\": {\n");
	for (size_t i = 0; i < s->count; i++) {
		if (i == end) {
			end = end_of_shard(s, i);
			number++;
		}
		text_printf(&text, "    ");
		text_json_string(&text, s->shown[i].name);
		text_printf(&text, ": \"model-%05zu-of-%05zu.safetensors\"%s\n", number, of,
		    i + 1 < s->count ? "," : "");
	}
	text_printf(&text, "  }\n}\n");
	return tree_add_text(s->tree, s->dir, "model.safetensors.index.json", &text, s->like);
}

int shards_add(const struct shards *s)
{
	size_t of = 0, number = 0;
	int rc = 0;

	for (size_t i = 0; i < s->count; i = end_of_shard(s, i))
		of++;
	if (of > 1)
		rc = add_index(s, of);
	for (size_t i = 0, end; rc == 0 && i < s->count; i = end) {
		end = end_of_shard(s, i);
		rc = add_shard(s, shard_name(s, ++number, of), i, end);
	}
	return rc;
}
