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
 *     nibble_floats()              n scales (at most NIBBLE_RUN) as floats
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

enum {
	NIBBLE_CODES = 32, /* looked up together: a cache line of 16-bit output */
	NIBBLE_RUN = 8,    /* parameters that are loaded together */
};

/* What a table is of: fl(fl(code - zero) * scale), or with `plus` fl(fl(code * scale) + zero). */
struct nibble_kind {
	bool plus;
	enum dtype out;
};

#endif
