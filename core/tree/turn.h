/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TURN_H
#define GPTQFS_TURN_H

/*
 * Matrices turned: row k is made of element k of every row of another generator. Two generators may share the rows,
 * side by side or their elements in turns.
 */

#include "base/arena.h"
#include "tree/generator.h"

#define TURN_MAX 2

struct turn {
	const struct generator *of[TURN_MAX]; /* [count] their rows are equally long */
	size_t count;
	bool in_turns;    /* element i of a row is from of[i % count], and all have as many rows; else side by side */
	uint32_t element; /* bytes: 2 or 4 */
};

/* Makes the generator in the arena. Returns 0 or -ENOMEM. */
int turn_make(struct arena *arena, const struct turn *turn, const struct generator **g);

#endif
