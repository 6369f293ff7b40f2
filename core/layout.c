/* SPDX-License-Identifier: MIT */
#include "layout.h"

#include <errno.h>
#include <string.h>

int layout_reserve(struct layout *layout, struct arena *arena, size_t count)
{
	layout->extents = arena_alloc(arena, count, sizeof(*layout->extents));
	layout->room = layout->extents ? count : 0;
	return layout->extents ? 0 : -ENOMEM;
}

static void append(struct layout *layout, struct extent extent)
{
	if (!extent.length || layout->count == layout->room)
		return;
	extent.offset = layout->size;
	layout->extents[layout->count++] = extent;
	layout->size += extent.length;
}

void layout_add_bytes(struct layout *layout, const char *bytes, uint64_t length)
{
	append(layout, (struct extent){.kind = EXTENT_BYTES, .length = length, .from.bytes = bytes});
}

void layout_add_source(struct layout *layout, struct source_file *file, uint64_t position, uint64_t length)
{
	append(layout,
	    (struct extent){.kind = EXTENT_SOURCE, .length = length, .position = position, .from.file = file});
}

void layout_add_generator(struct layout *layout, const struct generator *generator)
{
	append(layout, (struct extent){.kind = EXTENT_GENERATED,
			   .length = generator->rows * generator->row_bytes,
			   .from.generator = generator});
}

void layout_add_layout(struct layout *layout, const struct layout *other)
{
	for (size_t i = 0; i < other->count; i++)
		append(layout, other->extents[i]);
}

/* "model.norm" of "model.norm.weight". */
static size_t module_length(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? (size_t)(dot - name) : strlen(name);
}

static bool same_module(const char *a, const char *b)
{
	return module_length(a) == module_length(b) && memcmp(a, b, module_length(a)) == 0;
}

static bool is_quantized(const struct tensor *t)
{
	return t->module || (t->part_count && t->parts[0]->module);
}

void layout_note_tensor(struct layout *layout, const struct tensor *t, enum dtype dtype)
{
	struct contents *c = &layout->contents;

	c->tensors++;
	if (!c->tensor) {
		c->tensor = t;
		c->dtype = dtype_name(dtype); /* floats stand first, so it is theirs */
	} else if (!same_module(c->tensor->name, t->name)) {
		c->several = true;
	} else if (!is_quantized(c->tensor) && is_quantized(t)) {
		c->tensor = t;
	}
}

const struct extent *layout_find(const struct layout *layout, uint64_t offset)
{
	size_t low = 0, high = layout->count;

	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;

		if (layout->extents[middle].offset <= offset)
			low = middle;
		else
			high = middle;
	}
	return &layout->extents[low];
}
