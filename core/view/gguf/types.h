/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_TYPES_H
#define GPTQFS_GGUF_TYPES_H

/* Which type of GGUF holds a weight exactly: decided from groups, zeros and scales alone. */

#include "tensor/encoding.h"

struct gguf_choice {
	enum gguf_block block; /* GGUF_BLOCKS: none does, and it is F16 */
	const char *reason;    /* why none does; a constant */
};

/* Chooses the type of a weight. Q2_0 is chosen only if `q2`. Returns 0, or -EIO if a source cannot be read. */
int gguf_choose(struct encoded *e, bool q2, struct gguf_choice *out);

#endif
