/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GENERATOR_H
#define GPTQFS_GENERATOR_H

/*
 * A tensor that is computed, as `rows` rows of row_bytes bytes, one after the other. What computes them - a
 * dequantizer, a cast, somebody who writes a text - is no concern of whoever reads them. Constant after it was made;
 * any number of threads.
 *
 * A tile is a run of tile_rows rows beginning at a multiple of tile_rows; it is the unit of the cache. A dequantized
 * tile has 16 rows if they are not too long: 16 columns of qweight are one cache line of each of its rows.
 */

#include "base/text.h"
#include "file/span.h"
#include "tensor/source.h"

#define GENERATOR_TILE_MAX ((size_t)128 << 10) /* bytes of a tile, unless one row alone is longer */

/* Appends the text about a subject: the same one every time. */
typedef void text_fn(const void *subject, struct text *out);

struct row_part {
	uint64_t row;
	uint64_t from, length;
};

struct generator {
	uint64_t rows;
	uint64_t row_bytes;
	uint32_t tile_rows;
	/* Computes nrows rows into dst. 0, -EIO or -ENOMEM; dst is undefined then. */
	int (*fill)(const struct generator *g, void *dst, uint64_t row0, uint64_t nrows);
	/* Computes a part of one row: its bytes [from, from + length), both multiples of `step` but for the end of the
	 * row. NULL if rows are only computed whole. */
	int (*fill_part)(const struct generator *g, void *dst, const struct row_part *part);
	uint32_t step;
	/*
	 * What rows are computed from; NULL where nobody needs to know. Where `fetched` is not NULL, it is the same for
	 * all rows, however few are asked for: whoever sets *fetched has it brought into memory, and whoever clears it
	 * need not.
	 */
	void (*needs)(const struct generator *g, uint64_t row0, uint64_t nrows, struct spans *out);
	atomic_bool *fetched;
	union {
		const struct tensor *tensor;
		const void *subject; /* of a text, or of whoever has a fill of his own */
	};
	struct source_file *file;      /* of a cast */
	struct module *const *modules; /* [module_count] that rows are computed from */
	size_t module_count;
	enum dtype out;
	struct accel *accel; /* of a dequantizer, or NULL */
	union {
		gptq_fn *dequant;
		cast_fn *cast;
		text_fn *write;
	} kernel;
};

/* Rows of a quantized tensor in the type `out`: [out_features, in_features], or the other way round where the module
 * keeps its orientation. */
struct generator generator_dequant(const struct tensor *t, const struct kernels *kernels, enum dtype out);

/* Elements of a stored tensor cast to `out`; each element is a row, because a cast knows no rows. */
struct generator generator_cast(const struct tensor *t, struct source_file *f, const struct kernels *kernels,
    enum dtype out);

/* A text of `bytes` bytes as one row. It is written whenever it is read, and kept nowhere: there may be very many. */
struct generator generator_text(text_fn *write, const void *subject, uint64_t bytes);

/* ---- for whoever has a fill, or needs, of his own ---- */

/* Calls fn(ctx), which reads maps of the generator's modules. 0, or -EIO if a file of theirs was changed, or fails:
 * what fn wrote is not to be used then. */
int generator_guard(const struct generator *g, void (*fn)(void *ctx), void *ctx);

/* spans_add for mapped bytes of a module. */
void generator_needs(const struct module *m, const unsigned char *at, uint64_t bytes, struct spans *out);

#endif
