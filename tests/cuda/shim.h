/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TESTS_CUDA_SHIM_H
#define GPTQFS_TESTS_CUDA_SHIM_H

/* The CUDA keywords used by the kernel source, for block.h instead of nvcc. */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
/* Blocks run in sequence, so one copy is enough, and sanitizers guard static memory. */
#define __shared__ static
#define __syncthreads() block_barrier()

struct block_index {
	uint32_t x, y, z;
};

extern struct block_index threadIdx, blockIdx;

/* Waits for all threads of the block. */
void block_barrier(void);

#ifdef __cplusplus
}
#endif

#endif
