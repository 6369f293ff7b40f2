/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_TYPES_H
#define GPTQFS_GGUF_TYPES_H

/* GGUF's types of tensors, and the choice of one that holds a weight exactly, by its groups, zeros and scales. */

#include "tensor/encoding.h"

/* A float type has blocks of one weight. */
struct gguf_type {
	const char *name;
	uint32_t id;
	uint32_t weights, bytes; /* of a block */
};

/* Returns the type of blocks, or that of floats if `block` is GGUF_BLOCKS. */
struct gguf_type gguf_type_of(enum gguf_block block, enum dtype dtype);

/* Finds one of these types by its number. Returns false if it is another. */
bool gguf_type_find(uint32_t id, struct gguf_type *out);

struct gguf_choice {
	enum gguf_block block; /* GGUF_BLOCKS if there is none, and it becomes F16 */
	const char *reason;    /* why there is none; a constant */
	uint32_t run, step;    /* of the levels */
	uint64_t scales;
};

/* Chooses the type of a weight. Q2_0 is chosen only if `q2`. Returns 0, or -EIO if a source cannot be read. */
int gguf_choose(struct encoded *e, bool q2, struct gguf_choice *out);

#endif
