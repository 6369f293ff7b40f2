/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TESTS_CUDA_KERNELS_H
#define GPTQFS_TESTS_CUDA_KERNELS_H

#include "slice.h"

/* The kernels of cuda/dequant.cu, compiled for this CPU, for block_run with a struct slice as arguments. */
typedef void kernel_fn(void *slice);

/* Returns the kernel of that name, or NULL. */
kernel_fn *kernel_find(const char *name);

#endif
