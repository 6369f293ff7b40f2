/* SPDX-License-Identifier: MIT */
#include "tree/layout.h"

#include <errno.h>

/* A read of a text writes all of it, unless it is cached: 16 MiB take about 50 ms. */
#define TEXT_MAX ((size_t)16 << 20)
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

static int keep_text(struct layout *layout, struct arena *arena, const struct text *text)
{
	const char *bytes = arena_strndup(arena, text->data, text->len);

	if (bytes)
		layout_add_bytes(layout, bytes, text->len);
	return bytes ? 0 : -ENOMEM;
}

int layout_add_text(struct layout *layout, struct arena *arena, text_fn *write, const void *subject)
{
	struct text text = {0};
	struct generator *g;
	int rc = 0;

	write(subject, &text);
	if (text.failed) {
		rc = -ENOMEM;
	} else if (text.len > TEXT_MAX) {
		rc = keep_text(layout, arena, &text);
	} else {
		g = arena_alloc(arena, 1, sizeof(*g));
		rc = g ? 0 : -ENOMEM;
		if (g) {
			*g = generator_text(write, subject, text.len);
			layout_add_generator(layout, g);
		}
	}
	text_free(&text);
	return rc;
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
