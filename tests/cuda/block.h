/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TESTS_CUDA_BLOCK_H
#define GPTQFS_TESTS_CUDA_BLOCK_H

/*
 * Runs CUDA kernels on a CPU, one thread at a time: every thread of a block is a fiber, which stops at a barrier until
 * all others have reached it. The order between barriers can be chosen, so that dependence on it shows. One block at a
 * time per process.
 */

#include <stdbool.h>

#include "shim.h"

enum block_order { BLOCK_FORWARD, BLOCK_REVERSED, BLOCK_SHUFFLED };

struct block_grid {
	unsigned x, y; /* blocks */
	unsigned threads;
	enum block_order order;
};

/*
 * Calls kernel(arguments) in all threads of all blocks. Returns false if threads of a block were missing at a barrier.
 */
bool block_run(const struct block_grid *grid, void (*kernel)(void *arguments), void *arguments);

#endif
