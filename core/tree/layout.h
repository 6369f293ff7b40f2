/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LAYOUT_H
#define GPTQFS_LAYOUT_H

/*
 * The contents of a virtual file: extents, sorted, without gaps or overlap. A new kind of file is a new list of
 * extents; reading does not change.
 */

#include "base/arena.h"
#include "tree/generator.h"

enum extent_kind {
	EXTENT_BYTES,     /* memory: a header, JSON, text */
	EXTENT_SOURCE,    /* bytes of a source file, unchanged */
	EXTENT_GENERATED, /* all rows of a generator */
};

struct extent {
	uint64_t offset; /* in the virtual file */
	uint64_t length; /* at least 1 */
	enum extent_kind kind;
	uint64_t position; /* SOURCE: where in the file it begins */
	union {
		const char *bytes;
		struct source_file *file;
		const struct generator *generator;
	} from;
};

struct contents;

/* A zeroed struct is an empty file. */
struct layout {
	struct extent *extents; /* arena */
	size_t count, room;
	uint64_t size;
	uint32_t block;            /* st_blksize; 0 for the usual one */
	struct contents *contents; /* tensors of a file of weights, see tensor/contents.h; NULL for other files */
};

/* Makes room for `count` extents in all. Returns 0 or -ENOMEM. */
int layout_reserve(struct layout *layout, struct arena *arena, size_t count);

/* Append an extent to reserved room. Empty extents are left out. What they point to must outlive the layout. */
void layout_add_bytes(struct layout *layout, const char *bytes, uint64_t length);
void layout_add_source(struct layout *layout, struct source_file *file, uint64_t position, uint64_t length);
void layout_add_generator(struct layout *layout, const struct generator *generator);

/* Appends a copy of a text to reserved room. Returns 0 or -ENOMEM (the text may have failed). */
int layout_keep_text(struct layout *layout, struct arena *arena, const struct text *text);

/* Makes the layout of a file that is a copy of a text. Likewise. */
int layout_set_text(struct layout *layout, struct arena *arena, const struct text *text);

/*
 * Appends the text about a subject, which must outlive the layout. The text is generated once here, for its length, and
 * again on every read; it is kept only if it is so long that this would be slow. Returns 0 or -ENOMEM.
 */
int layout_add_text(struct layout *layout, struct arena *arena, text_fn *write, const void *subject);

/* Appends all extents of another layout. */
void layout_add_layout(struct layout *layout, const struct layout *other);

/* Returns the extent that holds a byte of the file; offset must be below size. */
const struct extent *layout_find(const struct layout *layout, uint64_t offset);

/*
 * Returns the input of bytes [from, from + length) of an extent, or of all of it if its source is resident as a whole.
 */
struct needs extent_needs(const struct extent *e, uint64_t from, uint64_t length);

#endif
