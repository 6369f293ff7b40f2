/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GENERATOR_H
#define GPTQFS_GENERATOR_H

/*
 * Bytes that are computed, as `rows` rows of row_bytes bytes, one after the other. Dequantized rows, cast rows, packed
 * rows and texts are the same to layouts, cache, pager and readers, and generators compose: one may ask another for
 * the rows it is made from. The owner's struct begins with struct generator. Constant once made; any number of threads.
 *
 * A tile is a run of tile_rows rows beginning at a multiple of tile_rows; it is the unit of the cache. A dequantized
 * tile has 16 rows if they are not too long: 16 columns of a GPTQ matrix are one cache line of each of its rows.
 */

#include <stdatomic.h>

#include "base/text.h"
#include "file/span.h"

#define GENERATOR_TILE_MAX ((size_t)128 << 10) /* bytes of a tile, unless one row alone is longer */

/* Of each of the rows [row0, row0 + nrows) the bytes [from, from + bytes). */
struct rect {
	uint64_t row0, nrows;
	uint64_t from, bytes;
};

struct generator;

struct generator_ops {
	/* Computes a rectangle, its rows one after the other. Returns 0, -EIO or -ENOMEM; dst is undefined after
	 * failure. */
	int (*fill)(const struct generator *g, void *dst, const struct rect *r);
	/* Adds the mapped bytes that a rectangle is computed from. NULL if nothing worth paging is read. */
	void (*needs)(const struct generator *g, const struct rect *r, struct spans *out);
};

/* The source files a generator reads from, through their maps. */
struct inputs {
	struct source_file *const *files;
	size_t count;
	/* If not NULL, any row touches the pages of all rows, so they are brought into memory as a whole: setting
	 * the flag takes on that work, clearing it says that they were given back. */
	atomic_bool *resident;
};

struct generator {
	const struct generator_ops *ops;
	uint64_t rows, row_bytes;
	uint32_t tile_rows;
	uint32_t step;     /* rows may be cut at multiples of it, in bytes; 0: they are only computed whole */
	uint32_t run_rows; /* rows are computed in runs of this many, from multiples of it; 0: one by one */
	struct inputs inputs;
};

/* Computes whole rows. */
int generator_fill(const struct generator *g, void *dst, uint64_t row0, uint64_t nrows);

/* The rows of a tile for rows of this length. */
uint32_t generator_tile_rows(uint64_t row_bytes);

/* The longest step not above the limit for rows that may be cut at multiples of `bytes`; 0 if there is none. */
uint32_t generator_step(uint64_t bytes);

/* ---- for implementations ---- */

/* Calls fn(ctx), which reads maps of the inputs. Returns 0, or -EIO if a file was changed or cannot be read; what fn
 * wrote must not be used then. */
int inputs_guard(const struct inputs *in, void (*fn)(void *ctx), void *ctx);

/* Returns 0, or -EIO if one of the files is not what it was. */
int inputs_check(const struct inputs *in);

/* Adds bytes at an address in the map of one of the inputs. Any other address is ignored: it is private memory. */
void inputs_add_span(const struct inputs *in, const unsigned char *at, uint64_t bytes, struct spans *out);

/* ---- texts ---- */

/* Appends the text about a subject: the same one every time. */
typedef void text_fn(const void *subject, struct text *out);

struct text_rows {
	struct generator g;
	text_fn *write;
	const void *subject;
};

/* A text of `bytes` bytes as one row. It is written whenever it is read and not kept: there may be very many. */
struct text_rows text_rows_make(text_fn *write, const void *subject, uint64_t bytes);

#endif
