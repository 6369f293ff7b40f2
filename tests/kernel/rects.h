/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CHECK_RECTS_H
#define GPTQFS_CHECK_RECTS_H

/* check_kernel: cases and timing of kernels that write rectangles of a matrix (kernel/rect.h), for all families. */

#include "bench.h"

struct rect_ops {
	/* Runs the kernel for this output type. */
	void (*run)(const struct kernels *k, enum dtype out, void *dst, const void *matrix,
	    const struct kernel_rect *r);
	/* True if both levels have the same kernel for it. */
	bool (*same)(const struct kernels *a, const struct kernels *b, const void *matrix, enum dtype out);
	/* Returns the bits of one output: the second implementation. */
	uint64_t (*naive)(const void *matrix, uint32_t row, uint32_t column, enum dtype out);
	/* Writes what a message about the matrix says. NULL if it is only timed. */
	void (*describe)(char *text, size_t size, const void *matrix);
};

/* A matrix of the type that `ops` takes, with `rows` rows of `columns` outputs. */
struct rect_case {
	const struct rect_ops *ops;
	const void *matrix;
	uint32_t rows, columns;
};

/* Returns the whole matrix, or a part of it. */
struct kernel_rect random_rect(struct check *c, uint32_t rows, uint32_t columns);

/* Runs the reference into c->arena[EXPECTED], and compares all levels with a kernel of their own. */
void check_rect_levels(struct check *c, const struct rect_case *k, const struct kernel_rect *r, enum dtype out);

/* The same, and compares the reference with the second implementation. */
void check_rect(struct check *c, const struct rect_case *k, const struct kernel_rect *r, enum dtype out);

/* Does that for all output types; the second implementation, which is slow, only for small rectangles. */
void check_rect_outputs(struct check *c, const struct rect_case *k, const struct kernel_rect *r);

/* Times all levels with a kernel of their own and all output types beside memcpy, a line each. */
void bench_rects(struct check *c, struct bench *b, const struct rect_case *k, const char *label);

#endif
