/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SPELLING_H
#define GPTQFS_SPELLING_H

#include <stddef.h>

#define SPELLING_MAX 40 /* most bytes compared */

/*
 * Returns the edit distance of two words: letters changed, added, removed, or swapped with the next. The words need not
 * be NUL-terminated.
 */
unsigned spelling_distance(const char *a, size_t a_len, const char *b, size_t b_len);

#endif
