/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_STATS_H
#define GPTQFS_STATS_H

/* Figures about modules: see gptqfs_stats. */

#include "gptqfs.h"
#include "report/stats_sums.h"
#include "tensor/dense.h"
#include "tensor/encoding.h"
#include "view/view.h"

/* gptqfs_stats of the plans of two models; `other` may be NULL. */
int stats_make(const struct plan *p, const struct plan *other, const struct gptqfs_stats_control *control,
    struct gptqfs_stats **out, struct gptqfs_error *err);

/* stats_scales.c: fills in the figures of a module's scales, if it stores any. Returns 0, -EIO or -ENOMEM. */
int stats_scales(const struct checkpoint *c, struct encoded *e, struct gptqfs_module_stats *out);

/* ---- stats_codes.c: how often each code occurs ---- */

#define STATS_CODES_MAX 256

/* Rows of a weight as served. */
struct stats_codes {
	const struct encoded *e;
	const struct kernels *kernels;
	const uint8_t *stored; /* of its first part */
	uint8_t *room;         /* [rows * columns] */
	uint64_t row0, rows, all_rows, columns;
	unsigned bits;
};

/* Returns the width of a module's codes, or 0 if it has none of at most 8 bits. */
unsigned stats_code_bits(const struct encoded *e);

/* Returns which codes stand for the lowest and the highest value. */
struct stored_codes stats_codes_ends(const struct encoded *e, unsigned bits);

/* Counts the codes of these rows; the histogram is valid once all rows are counted. Returns 0 or -EIO. */
int stats_codes_count(const struct stats_codes *c, uint64_t histogram[STATS_CODES_MAX]);

/* ---- stats_pairs.c: what is compared with what ---- */

/*
 * Rows of fp32, from consecutive generators with rows of equal length. If `matrix_rows` is not 0, they are columns of a
 * matrix of that many rows instead: row r is column column0 + r * column_step.
 */
struct stats_rows {
	const struct generator *const *list; /* [count] */
	size_t count;
	uint64_t skip; /* rows before the first one, or before the matrix */
	uint64_t matrix_rows, column0, column_step;
};

/* Computes `count` rows from row0 on. Returns 0, -EIO or -ENOMEM. */
int stats_rows_fill(const struct stats_rows *rows, float *dst, uint64_t row0, uint64_t count);

/* A tensor of a dense view, or a part of one. */
struct stats_leaf {
	const char *name;
	const struct tensor *tensor;
	const struct tensor *whole; /* the tensor it is a part of, or NULL */
	uint64_t row0;              /* its first row there */
	bool used;
};

/* The leaves of a model. */
struct stats_leaves {
	const struct plan *plan;
	struct stats_leaf *list; /* [count] by name; a tensor has one for each whole it is a part of */
	size_t count, room;
};

/* Returns 0 or -ENOMEM. */
int stats_leaves_make(struct stats_leaves *leaves, const struct plan *plan);
void stats_leaves_free(struct stats_leaves *leaves);

/*
 * Finds the counterpart of a leaf, and marks what it consists of as used. Sets *reason to NULL and *out to its rows, or
 * *reason to why there is none. Allocates in the arena of the other model. Returns 0 or -ENOMEM.
 */
int stats_pair(const struct stats_leaves *mine, const struct tensor *leaf, struct stats_leaves *other,
    struct stats_rows *out, const char **reason);

#endif
