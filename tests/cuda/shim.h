/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TESTS_CUDA_SHIM_H
#define GPTQFS_TESTS_CUDA_SHIM_H

/* What a kernel's source finds where nvcc does not compile it: the words of CUDA that it uses, for block.h. */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)
/* Blocks run one after the other, so one copy is enough; and sanitizers watch the memory around what is static. */
#define __shared__ static
#define __syncthreads() block_barrier()

struct block_index {
	uint32_t x, y, z;
};

extern struct block_index threadIdx, blockIdx;

/* All threads of the block, before any goes on. */
void block_barrier(void);

#ifdef __cplusplus
}
#endif

#endif
