/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_TYPES_H
#define GPTQFS_GGUF_TYPES_H

/* Finds the GGUF type that holds a weight exactly, by its groups, zeros and scales. */

#include "tensor/encoding.h"

struct gguf_choice {
	enum gguf_block block; /* GGUF_BLOCKS if there is none, and it becomes F16 */
	const char *reason;    /* why there is none; a constant */
	uint32_t run, step;    /* of the levels */
	uint64_t scales;
};

/* Chooses the type of a weight. Q2_0 is chosen only if `q2`. Returns 0, or -EIO if a source cannot be read. */
int gguf_choose(struct encoded *e, bool q2, struct gguf_choice *out);

#endif
