/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MATRIX_ROWS_H
#define GPTQFS_MATRIX_ROWS_H

/*
 * The generator of a weight's rows, for encodings whose kernels fill rectangles. By its shape, a weight is a matrix, or
 * the matrices of several experts in sequence. The encoding supplies two functions and where rows may be cut; the rest
 * of a generator is here.
 */

#include "kernel/rect.h"
#include "tensor/encoding.h"

/* Default step at which rows may be cut: little is wasted, and rows stay aligned. */
#define MATRIX_CUT 64

/* The largest matrix: rows of the output are buffered whole. */
#define MATRIX_COLUMNS_MAX ((uint64_t)1 << 22)
#define MATRIX_ROWS_MAX ((uint64_t)1 << 31)

struct matrix_ops {
	/*
	 * Writes a rectangle of one matrix (the expert's number, else 0) to dst, as elements of type `out` without
	 * gaps. Reads maps, cannot fail.
	 */
	void (*fill)(const struct encoded *e, const struct kernels *k, enum dtype out, void *dst, uint64_t matrix,
	    const struct kernel_rect *r);
	/* Adds the mapped bytes that the rectangle is computed from (inputs_add_span). */
	void (*needs)(const struct encoded *e, const struct inputs *in, uint64_t matrix, const struct kernel_rect *r,
	    struct spans *out);
	uint32_t cut; /* columns: rectangles begin and end at multiples of it, or at the row's end; 0: whole rows */
	uint32_t run_rows; /* rows are computed in runs of this many, starting at multiples of it; 0: singly */
	bool turned;       /* fill handles transposition: it takes rectangles as served */
	bool scattered;    /* any row needs pages shared by all rows: see `resident` in struct inputs */
};

/*
 * Makes the generator, in the arena. Rows and columns must fit in 32 bits. If e->transposed, the matrix, which must be
 * a single one, is filled as stored and transposed here, unless fill does that. Returns 0 or -ENOMEM.
 */
int matrix_rows(struct encoded *e, const struct matrix_ops *ops, const struct kernels *k, enum dtype out,
    struct arena *arena, const struct generator **g);

#endif
