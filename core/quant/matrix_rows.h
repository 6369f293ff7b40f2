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

/* A rectangle of one matrix of a weight. */
struct matrix_part {
	const struct encoded *e;
	const struct kernels *kernels;
	enum dtype out;
	uint64_t matrix; /* the expert's number, else 0 */
	struct kernel_rect rect;
};

struct matrix_ops {
	/* Writes the rectangle to dst, as elements of type `out` without gaps. Reads maps, cannot fail. */
	void (*fill)(const struct matrix_part *p, void *dst);
	/* Adds the mapped bytes that the rectangle is computed from (inputs_add_span). */
	void (*needs)(const struct matrix_part *p, const struct inputs *in, struct spans *out);
	uint32_t
	    cut; /* rectangles begin and end at multiples of this many columns, or at the row's end; 0: whole rows */
	bool transposed; /* fill transposes: its rectangles are as served */
	bool scattered;  /* any row needs pages shared by all rows: see `resident` in struct inputs */
};

/*
 * struct encoding's `rows` for encodings that set `matrix`. Rows and columns must fit in 32 bits. If e->transposed, the
 * matrix, which must be a single one, is filled as stored and transposed here, unless fill does that. Returns 0 or
 * -ENOMEM.
 */
int matrix_rows(struct encoded *e, const struct kernels *k, enum dtype out, struct arena *arena,
    const struct generator **g);

#endif
