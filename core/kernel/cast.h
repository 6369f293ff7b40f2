/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CAST_H
#define GPTQFS_CAST_H

/* Casts of stored float tensors to the type of a view, with one rounding to nearest even per element. */

#include <stddef.h>

#include "base/dtype.h"

/*
 * Casts n elements. NaN becomes the canonical one; all else follows IEEE 754. Neither pointer need be aligned. A cast
 * of a type to itself is a copy, including NaN payloads.
 */
typedef void cast_fn(void *dst, const void *src, size_t n);

/* The C reference, [from][to]. */
extern cast_fn *const cast_reference[DTYPE_CASTS][DTYPE_VIEWS];

/* Each overrides the slots that its instruction set speeds up. Call only if cpu_detect() allows it. */
void cast_init_vector(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS]);
void cast_init_avx2(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS]);
void cast_init_avx512(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS]);

/* The same for F8_E4M3 and F8_E5M2. */
void fp8_cast_init_vector(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS]);
void fp8_cast_init_avx2(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS]);
void fp8_cast_init_avx512(cast_fn *cast[DTYPE_CASTS][DTYPE_VIEWS]);

#endif
