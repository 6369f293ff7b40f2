/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TESTS_CUDA_BLOCK_H
#define GPTQFS_TESTS_CUDA_BLOCK_H

/*
 * Runs CUDA kernels on a CPU, one thread at a time: every thread of a block is a fiber, and a barrier is where it
 * stops until all others have come there too. The order in which they run between barriers is a choice, so that what
 * depends on it comes out differently. One block at a time in the whole process.
 */

#include <stdbool.h>

#include "shim.h"

enum block_order { BLOCK_FORWARD, BLOCK_REVERSED, BLOCK_SHUFFLED };

struct block_grid {
	unsigned x, y; /* blocks */
	unsigned threads;
	enum block_order order;
};

/* Has all threads of all blocks call kernel(arguments). False if, at a barrier, some of a block were missing. */
bool block_run(const struct block_grid *grid, void (*kernel)(void *arguments), void *arguments);

#endif
