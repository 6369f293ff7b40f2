/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MATRIX_ROWS_H
#define GPTQFS_MATRIX_ROWS_H

/*
 * The generator of a weight's rows for encodings whose kernel fills rectangles: a weight is one matrix, or the matrices
 * of several experts one after the other, as its shape says. The encoding gives two functions and says where rows may
 * be cut; what readers, cache and pager ask of a generator is done here.
 */

#include "kernel/rect.h"
#include "tensor/encoding.h"

/* Where the rows of a matrix may be cut, unless the encoding knows better: little is lost, and rows stay aligned. */
#define MATRIX_CUT 64

struct matrix_ops {
	/*
	 * Writes a rectangle of one matrix (the expert's number, 0 if there are none) to dst, elements of type `out`
	 * without gaps. Reads maps, cannot fail.
	 */
	void (*fill)(const struct encoded *e, const struct kernels *k, enum dtype out, void *dst, uint64_t matrix,
	    const struct kernel_rect *r);
	/* Adds the mapped bytes that the rectangle is computed from (inputs_add_span). */
	void (*needs)(const struct encoded *e, const struct inputs *in, uint64_t matrix, const struct kernel_rect *r,
	    struct spans *out);
	uint32_t cut; /* columns: rectangles begin at multiples of it, and end there or with the row; 0: whole rows */
	uint32_t run_rows; /* rows are computed in runs of this many, from multiples of it; 0: one by one */
	bool turned;       /* fill takes rectangles of what is served even where that is the other way round */
	bool scattered;    /* any row is computed from pages that all rows share: see struct inputs, resident */
};

/* Makes the generator, in the arena. Rows and columns must fit 32 bits. A matrix that e->transposed says is served the
 * other way round is filled as stored and turned here, unless fill does that; only single ones are. Returns 0 or
 * -ENOMEM. */
int matrix_rows(struct encoded *e, const struct matrix_ops *ops, const struct kernels *k, enum dtype out,
    struct arena *arena, const struct generator **g);

#endif
