/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ADAPTED_H
#define GPTQFS_ADAPTED_H

/*
 * A tensor with adapters merged into it: kernel/lora.h over the rows of any other tensor. It is one matrix, the
 * matrices of several experts one after the other, or a vector (a bias).
 */

#include "kernel/kernels.h"
#include "tensor/tensor.h"
#include "tree/generator.h"

/* L R on one matrix; of a vector, r alone is what is added. */
struct adapted_term {
	struct lora_factor l, r;
	uint32_t rank; /* 0: the adapter does not touch this matrix */
	double scale;
};

/* One of the rows that are values of their own instead. */
struct given_row {
	uint64_t row, at; /* of the tensor, and of the stored values */
};

/* The most elements of a row: what is computed is kept row by row. */
#define ADAPTED_COLUMNS_MAX ((uint64_t)1 << 22)

/*
 * Makes *t the sum of what it was and one layer more, whose terms (arena) are from `file` and take `bytes` there; or
 * just an adapted tensor without any, if `terms` is NULL. Returns 0 or -ENOMEM.
 */
struct adapted_layer {
	struct adapted_term *terms; /* [matrices] */
	struct source_file *file;
	uint64_t bytes;
};
int adapted_add(struct arena *arena, struct tensor *t, const struct adapted_layer *layer);

/* The type in which the rows of the base are wanted, for rows of type `out`. */
enum dtype adapted_base_dtype(const struct adapted *a, enum dtype out);

/* Makes the generator of the sum's rows in the arena; `base` gives those of the base in that type. Returns 0 or
 * -ENOMEM.
 */
struct adapted_make {
	const struct adapted *adapted;
	const struct checkpoint *c;
	const struct kernels *kernels;
	const struct generator *base;
	enum dtype out;
};
int adapted_rows(struct arena *arena, const struct adapted_make *make, const struct generator **g);

#endif
