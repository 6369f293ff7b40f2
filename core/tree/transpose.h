/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TRANSPOSE_H
#define GPTQFS_TRANSPOSE_H

/*
 * Transposed matrices: row k consists of element k of every row of another generator. With two generators, each row
 * holds the elements of both, side by side or alternating.
 */

#include "base/arena.h"
#include "tree/generator.h"

#define TRANSPOSE_MAX 2

/* Callers must not exceed this row length: rows are computed whole. */
#define TRANSPOSED_COLUMNS_MAX ((uint64_t)1 << 22)

struct transpose {
	const struct generator *of[TRANSPOSE_MAX]; /* [count] with rows of equal length */
	size_t count;
	bool interleaved; /* element i of a row is from of[i % count], all with as many rows; else side by side */
	uint32_t element; /* bytes: 2 or 4 */
};

/* Makes the generator in the arena. Returns 0 or -ENOMEM. */
int transpose_make(struct arena *arena, const struct transpose *transpose, const struct generator **g);

#endif
