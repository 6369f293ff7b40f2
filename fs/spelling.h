/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SPELLING_H
#define GPTQFS_SPELLING_H

#include <stddef.h>

#define SPELLING_MAX 40 /* bytes of a word that are compared */

/* Returns how many letters have to be changed, added, removed, or swapped with the next to turn one word into the
 * other. The words need not be terminated. */
unsigned spelling_distance(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
