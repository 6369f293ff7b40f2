/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DEQUANT_IMPL_H
#define GPTQFS_DEQUANT_IMPL_H

/* What the files that implement dequant.h share. Nobody else includes this. */

#include "kernel/dequant.h"

/* The C reference. dequant_reference[out], inputs_reference[out] and cast_reference[from][to]. */
extern dequant_fn *const dequant_reference[DTYPE_VIEWS];
extern dequant_fn *const inputs_reference[DTYPE_VIEWS];
extern cast_fn *const cast_reference[DTYPE_CASTS][DTYPE_VIEWS];

/* Each replaces the slots that its instruction set does faster. Call only where cpu_detect() allows it. */
void kernels_init_vector(struct kernels *k);
void kernels_init_avx2(struct kernels *k);
void kernels_init_avx512(struct kernels *k);

#endif
