/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SPAN_H
#define GPTQFS_SPAN_H

/* Pieces of mapped source files: the input of a computation. */

#include <stdatomic.h>

#include "file/source_file.h"

struct span {
	const struct source_file *file;
	uint64_t offset, bytes;
};

#define SPANS_MAX 8

/* Unordered; adjacent pieces of a file are merged. A zeroed struct is empty. */
struct spans {
	int count;
	struct span span[SPANS_MAX];
};

/* Adds bytes at an address within a file's map. Empty pieces and those beyond SPANS_MAX are ignored. */
void spans_add(struct spans *s, const struct source_file *f, const unsigned char *at, uint64_t bytes);

uint64_t spans_bytes(const struct spans *s);

/* Returns at most `bytes` bytes of the spans, starting `from` bytes into them. */
struct spans spans_cut(const struct spans *s, uint64_t from, uint64_t bytes);

/* The input of a piece of a virtual file. */
struct needs {
	struct spans spans;
	bool mapped;           /* read through the map, not by pread */
	atomic_bool *resident; /* see struct inputs; NULL if the spans belong to this piece alone */
};

#endif
