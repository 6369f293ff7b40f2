/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PACK_H
#define GPTQFS_PACK_H

/*
 * Rows of packed zeros, word by word: the inverse of qtensor_zero. A word depends only on the zeros it holds bits of,
 * so rows can be made in pieces. Of a qtensor only bits, word_bits, packing and zeros (ZEROS_V1 or ZEROS_V2) are used.
 */

#include "kernel/gptq/gptq.h"

#define PACK_ZEROS_MAX 34 /* most zeros a word has bits of */

/* Finds the zeros that word `index` of a row has bits of: *count of them, starting at column *first. */
void pack_range(const struct qtensor *q, uint64_t index, uint64_t *first, unsigned *count);

/* Returns the word of these zeros, each below 1 << bits. Zeros beyond the last column must be 0. */
uint64_t pack_zeros(const struct qtensor *q, uint64_t index, const uint8_t zeros[PACK_ZEROS_MAX]);

#endif
