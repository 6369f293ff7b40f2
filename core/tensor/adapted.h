/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ADAPTED_H
#define GPTQFS_ADAPTED_H

/*
 * A tensor with merged adapters: kernel/lora/lora.h on the rows of any other tensor. It is a matrix, the matrices of
 * several experts in sequence, or a vector (a bias).
 */

#include "kernel/kernels.h"
#include "tensor/tensor.h"
#include "tree/generator.h"

/* L R on one matrix; for a vector, only r is added. */
struct adapted_term {
	struct lora_factor l, r;
	uint32_t rank; /* 0: the adapter does not touch this matrix */
	double scale;
};

/* A row that is replaced by stored values. */
struct given_row {
	uint64_t row, at; /* of the tensor, and of the stored values */
};

/* Most elements in a row: results are kept row by row. */
#define ADAPTED_COLUMNS_MAX ((uint64_t)1 << 22)

/*
 * Turns *t into its sum with another layer, whose terms (arena) come from `file` and take `bytes` there; or, if `terms`
 * is NULL, into an adapted tensor without layers. Returns 0 or -ENOMEM.
 */
struct adapted_layer {
	struct adapted_term *terms; /* [matrices] */
	struct source_file *file;
	uint64_t bytes;
};
int adapted_add(struct arena *arena, struct tensor *t, const struct adapted_layer *layer);

/* Returns the type of the base's rows that rows of type `out` require. */
enum dtype adapted_base_dtype(const struct adapted *a, enum dtype out);

/*
 * Makes the generator of the sum's rows, in the arena; `base` has the base's rows in adapted_base_dtype. Returns 0 or
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
