/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GENERATOR_H
#define GPTQFS_GENERATOR_H

/*
 * Computed bytes, as `rows` consecutive rows of row_bytes bytes. Layouts, cache, pager and readers need not know
 * whether rows are dequantized, cast, packed or text. Generators compose: one may ask another for its input. An
 * implementation's struct begins with struct generator. Constant once made; any number of threads.
 *
 * A tile, the unit of the cache, is tile_rows rows starting at a multiple of tile_rows. A dequantized tile has 16 rows
 * unless they are very long: 16 columns of a GPTQ matrix are one cache line of each of its rows.
 */

#include <stdatomic.h>

#include "base/text.h"
#include "file/span.h"

#define GENERATOR_TILE_MAX ((size_t)128 << 10) /* limit of a tile, unless one row is longer */

/* Bytes [from, from + bytes) of each of the rows [row0, row0 + nrows). */
struct rect {
	uint64_t row0, nrows;
	uint64_t from, bytes;
};

struct generator;

struct generator_ops {
	/*
	 * Computes a rectangle, without gaps between rows. Returns 0, -EIO or -ENOMEM; after failure dst is undefined.
	 */
	int (*fill)(const struct generator *g, void *dst, const struct rect *r);
	/* Adds the mapped bytes that a rectangle is computed from. NULL if it reads nothing worth paging. */
	void (*needs)(const struct generator *g, const struct rect *r, struct spans *out);
};

/* The source files a generator reads through their maps. */
struct inputs {
	struct source_file *const *files;
	size_t count;
	/*
	 * If not NULL, any row touches the pages of all rows, so all are read into memory together: the thread that
	 * sets the flag does that, and the one that releases the pages clears it.
	 */
	atomic_bool *resident;
};

struct generator {
	const struct generator_ops *ops;
	uint64_t rows, row_bytes;
	uint32_t tile_rows;
	uint32_t step;     /* rows may be cut at multiples of this many bytes; 0: rows are only computed whole */
	uint32_t run_rows; /* rows are computed in runs of this many, starting at multiples of it; 0: singly */
	struct inputs inputs;
};

/* Computes whole rows. */
int generator_fill(const struct generator *g, void *dst, uint64_t row0, uint64_t nrows);

/* Returns the rows of a tile for rows of this length. */
uint32_t generator_tile_rows(uint64_t row_bytes);

/* Returns the step for rows that may be cut at multiples of `bytes`: that, or 0 if it is too long to be useful. */
uint32_t generator_step(uint64_t bytes);

/* ---- for implementations ---- */

/*
 * Calls fn(ctx), which reads the maps of the inputs. Returns 0, or -EIO if a file was changed or cannot be read; the
 * output of fn must then be discarded.
 */
int inputs_guard(const struct inputs *in, void (*fn)(void *ctx), void *ctx);

/* Returns 0, or -EIO if one of the files has changed. */
int inputs_check(const struct inputs *in);

/* Adds bytes at an address in the map of one of the inputs. Other addresses are private memory and ignored. */
void inputs_add_span(const struct inputs *in, const unsigned char *at, uint64_t bytes, struct spans *out);

/* ---- texts ---- */

/* Appends the text about a subject, the same on every call. */
typedef void text_fn(const void *subject, struct text *out);

struct text_rows {
	struct generator g;
	text_fn *write;
	const void *subject;
};

/* A text of `bytes` bytes as one row. It is regenerated on every read and not kept, since there may be very many. */
struct text_rows text_rows_make(text_fn *write, const void *subject, uint64_t bytes);

#endif
