/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_NIBBLES_H
#define GPTQFS_NIBBLES_H

/*
 * Weights of 4-bit codes by look-up: the 16 outputs that a group can have are computed by the formula once, and codes
 * then only pick from them. Exact whatever the scale is, NaNs included, and most of the rounding is saved.
 *
 * nibbles_<isa>.h defines, for one instruction set,
 *
 *     struct nibble_table          the outputs of codes 0 to 15
 *     nibble_codes                 NIBBLE_CODES codes, in an order of its own
 *     nibble_table_build()         computes a table
 *     nibble_expand()              writes the outputs of the first `count` codes
 *     nibble_floats()              see below
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"
#include "kernel/simd/inline.h"

enum {
	NIBBLE_CODES = 32, /* looked up together: a cache line of 16-bit output */
	NIBBLE_RUN = 8,    /* parameters that are loaded together */
};

/* What a table is of: fl(fl(code - zero) * scale), or with `plus` fl(fl(code * scale) + zero). */
struct nibble_kind {
	bool plus;
	bool finite; /* no output is NaN */
	enum dtype out;
};

/* Writes n parameters as floats, at most NIBBLE_RUN, but may write all NIBBLE_RUN. `dtype` is constant. */
ALWAYS_INLINE void nibble_floats(float *to, const unsigned char *src, uint32_t n, enum dtype dtype);

/* Loads n parameters, at most NIBBLE_RUN, from number i of an array on. */
static inline void nibble_load(float to[NIBBLE_RUN], const unsigned char *array, size_t i, uint32_t n, enum dtype dtype)
{
	if (dtype == DTYPE_F16)
		nibble_floats(to, array + i * 2, n, DTYPE_F16);
	else if (dtype == DTYPE_BF16)
		nibble_floats(to, array + i * 2, n, DTYPE_BF16);
	else
		nibble_floats(to, array + i * 4, n, DTYPE_F32);
}

#endif
