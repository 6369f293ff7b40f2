/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_STATS_SUMS_H
#define GPTQFS_STATS_SUMS_H

/*
 * Sums over weights in double. The order of additions is fixed: element i of a block belongs to lane i % 8, lanes are
 * added in order, then blocks. Compilers can use vectors for that, and every machine gets the same bits.
 */

#include <stddef.h>
#include <stdint.h>

struct stats_sums {
	double squares;                                /* of the weights w */
	double absmax;                                 /* greatest |w| */
	double other_squares, products, error_squares; /* sums of w0^2, w w0, (w - w0)^2 */
	double error_max;                              /* greatest |w - w0|... */
	uint64_t error_at;                             /* ...and the first element that has it */
};

/* Adds a block of n weights; the first is element `at`. `w0` is what they are compared with, or NULL. */
void stats_sums_block(struct stats_sums *s, const float *w, const float *w0, size_t n, uint64_t at);

/* Adds the sums of later elements. */
void stats_sums_add(struct stats_sums *s, const struct stats_sums *later);

/* Returns sums of no elements. */
struct stats_sums stats_sums_none(void);

#endif
