/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SPAN_H
#define GPTQFS_SPAN_H

/* Pieces of mapped source files: the bytes that something is computed from. */

#include <stdatomic.h>

#include "file/source_file.h"

struct span {
	const struct source_file *file;
	uint64_t offset, bytes;
};

#define SPANS_MAX 8

/* In no order; pieces of one file that lie next to one another are one. A zeroed struct has none. */
struct spans {
	int count;
	struct span span[SPANS_MAX];
};

/* Adds bytes at an address within a file's map. Zero bytes are ignored, and so are pieces beyond SPANS_MAX. */
void spans_add(struct spans *s, const struct source_file *f, const unsigned char *at, uint64_t bytes);

uint64_t spans_bytes(const struct spans *s);

/* At most `bytes` of them, beginning `from` bytes after the start of the first. */
struct spans spans_cut(const struct spans *s, uint64_t from, uint64_t bytes);

/* What a piece of a virtual file is computed from. */
struct needs {
	struct spans spans;
	bool mapped;           /* it is read through the map, not by pread */
	atomic_bool *resident; /* see struct inputs; NULL if the spans belong to this piece alone */
};

#endif
