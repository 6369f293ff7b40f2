/* SPDX-License-Identifier: MIT */
#include "view/shards.h"

#include <errno.h>

/* The conventions of save_pretrained. */
#define SHARD_BYTES ((uint64_t)5000000000)
#define SHARD_NAME "%s-%05zu-of-%05zu.safetensors"

/* A shard: the tensors [first, end). */
struct shard {
	const struct shards *s;
	size_t first, end;
};

static uint64_t bytes_of(const struct shards *s, size_t i)
{
	return s->shown(s->tensors, i).bytes;
}

/* Returns the first tensor of the next shard, if one starts with tensor `first`. */
static size_t end_of_shard(const struct shards *s, size_t first)
{
	const uint64_t most = s->shard_bytes ? s->shard_bytes : SHARD_BYTES;
	uint64_t bytes = 0;
	size_t i = first;

	for (; i < s->count && (!bytes || bytes + bytes_of(s, i) <= most); i++)
		bytes += bytes_of(s, i);
	return i;
}

static const char *shard_name(const struct shards *s, size_t number, size_t of)
{
	return of == 1 ? arena_printf(s->tree->arena, "%s.safetensors", s->stem)
	               : arena_printf(s->tree->arena, SHARD_NAME, s->stem, number, of);
}

static void shards_write_header(const void *subject, struct text *out)
{
	const struct shard *shard = subject;
	uint64_t at = 0;

	safetensors_begin(out);
	for (size_t i = shard->first; i < shard->end; i++) {
		const struct st_tensor t = shard->s->shown(shard->s->tensors, i);

		safetensors_add(out, &t, &at);
	}
	safetensors_end(out);
}

static int add_shard(const struct shards *s, const char *name, size_t first, size_t end)
{
	struct arena *arena = s->tree->arena;
	struct layout *layout = arena_alloc(arena, 1, sizeof(*layout));
	struct shard *shard = arena_alloc(arena, 1, sizeof(*shard));
	size_t extents = 1;
	int rc;

	for (size_t i = first; i < end; i++)
		extents += s->extents(s->tensors, i);
	if (!layout || !shard || !name || layout_reserve(layout, arena, extents))
		return -ENOMEM;
	*shard = (struct shard){s, first, end};
	rc = layout_add_text(layout, arena, shards_write_header, shard);
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
		const struct st_tensor t = s->shown(s->tensors, i);

		bytes += t.bytes;
		elements += t.bytes * 8 / dtype_bits(t.dtype);
	}
	elements = s->parameters ? s->parameters : elements;
	text_printf(text, "  \"metadata\": {\n    \"total_parameters\": %llu,\n    \"total_size\": %llu\n  },\n",
	    (unsigned long long)elements, (unsigned long long)bytes);
}

static size_t count_shards(const struct shards *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->count; i = end_of_shard(s, i))
		n++;
	return n;
}

static void write_index(const void *subject, struct text *out)
{
	const struct shards *s = subject;
	const size_t of = count_shards(s);
	size_t number = 0, end = 0;
	char shard[128] = "";

	text_string(out, "{\n");
	write_totals(s, out);
	text_string(out, "  \"weight_map\": {\n");
	for (size_t i = 0; i < s->count; i++) {
		if (i == end) {
			end = end_of_shard(s, i);
			snprintf(shard, sizeof(shard), SHARD_NAME, s->stem, ++number, of);
		}
		text_string(out, "    ");
		text_json_string(out, s->shown(s->tensors, i).name);
		text_string(out, ": \"");
		text_string(out, shard);
		text_string(out, i + 1 < s->count ? "\",\n" : "\"\n");
	}
	text_string(out, "  }\n}\n");
}

static int add_index(const struct shards *s)
{
	struct arena *arena = s->tree->arena;
	struct layout *layout = arena_alloc(arena, 1, sizeof(*layout));
	const char *name = arena_printf(arena, "%s.safetensors.index.json", s->stem);
	int rc;

	if (!layout || !name || layout_reserve(layout, arena, 1))
		return -ENOMEM;
	rc = layout_add_text(layout, arena, write_index, s);
	if (rc == 0 && !tree_add(s->tree, s->dir, name, layout, s->like))
		rc = -ENOMEM;
	return rc;
}

int shards_add(const struct shards *s)
{
	const size_t of = count_shards(s);
	size_t number = 0;
	int rc = of > 1 ? add_index(s) : 0;

	for (size_t i = 0, end; rc == 0 && i < s->count; i = end) {
		end = end_of_shard(s, i);
		rc = add_shard(s, shard_name(s, ++number, of), i, end);
	}
	return rc;
}
