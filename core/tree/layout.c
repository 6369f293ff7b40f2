/* SPDX-License-Identifier: MIT */
#include "tree/layout.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"

/* A read of a text generates all of it, unless it is cached: 16 MiB take about 50 ms. */
#define TEXT_MAX ((size_t)16 << 20)

int layout_reserve(struct layout *layout, struct arena *arena, size_t count)
{
	layout->extents = arena_alloc(arena, count, sizeof(*layout->extents));
	layout->room = layout->extents ? count : 0;
	return layout->extents ? 0 : -ENOMEM;
}

static void add_extent(struct layout *layout, struct extent extent)
{
	if (!extent.length || layout->count == layout->room)
		return;
	extent.offset = layout->size;
	layout->extents[layout->count++] = extent;
	layout->size += extent.length;
}

void layout_add_bytes(struct layout *layout, const char *bytes, uint64_t length)
{
	add_extent(layout, (struct extent){.kind = EXTENT_BYTES, .length = length, .from.bytes = bytes});
}

void layout_add_source(struct layout *layout, struct source_file *file, uint64_t position, uint64_t length)
{
	add_extent(layout,
	    (struct extent){.kind = EXTENT_SOURCE, .length = length, .position = position, .from.file = file});
}

void layout_add_generator(struct layout *layout, const struct generator *generator)
{
	add_extent(layout, (struct extent){.kind = EXTENT_GENERATED,
			       .length = generator->rows * generator->row_bytes,
			       .from.generator = generator});
}

int layout_keep_text(struct layout *layout, struct arena *arena, const struct text *text)
{
	const char *bytes = text_keep(text, arena);

	if (bytes)
		layout_add_bytes(layout, bytes, text->len);
	return bytes ? 0 : -ENOMEM;
}

int layout_set_text(struct layout *layout, struct arena *arena, const struct text *text)
{
	*layout = (struct layout){0};
	return layout_reserve(layout, arena, 1) ? -ENOMEM : layout_keep_text(layout, arena, text);
}

int layout_add_text(struct layout *layout, struct arena *arena, text_fn *write, const void *subject)
{
	struct text text = {0};
	struct text_rows *rows;
	int rc = 0;

	write(subject, &text);
	if (text.failed || text.len > TEXT_MAX) {
		rc = layout_keep_text(layout, arena, &text);
	} else {
		rows = arena_alloc(arena, 1, sizeof(*rows));
		rc = rows ? 0 : -ENOMEM;
		if (rows) {
			*rows = text_rows_make(write, subject, text.len);
			layout_add_generator(layout, &rows->g);
		}
	}
	text_free(&text);
	return rc;
}

void layout_add_layout(struct layout *layout, const struct layout *other)
{
	for (size_t i = 0; i < other->count; i++)
		add_extent(layout, other->extents[i]);
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

static void generator_needs(const struct generator *g, uint64_t from, uint64_t length, struct spans *out)
{
	const uint64_t row0 = from / g->row_bytes, row1 = div_up(from + length, g->row_bytes);

	if (g->ops->needs)
		g->ops->needs(g, &(struct rect){row0, row1 - row0, 0, g->row_bytes}, out);
}

struct needs extent_needs(const struct extent *e, uint64_t from, uint64_t length)
{
	struct needs needs = {0};

	switch (e->kind) {
	case EXTENT_BYTES:
		break;
	case EXTENT_SOURCE:
		if (e->from.file->map)
			spans_add(&needs.spans, e->from.file, e->from.file->map + e->position + from, length);
		break;
	case EXTENT_GENERATED:
		needs.mapped = true;
		needs.resident = e->from.generator->inputs.resident;
		if (needs.resident)
			generator_needs(e->from.generator, 0, e->length, &needs.spans);
		else
			generator_needs(e->from.generator, from, length, &needs.spans);
		break;
	}
	return needs;
}
