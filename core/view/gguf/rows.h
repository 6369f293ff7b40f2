/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GGUF_ROWS_H
#define GPTQFS_GGUF_ROWS_H

/* Generators for tensors of a GGUF file, besides those of dense tensors. All live in the arena. */

#include "view/coded.h"

/* A weight to be stored in blocks: see gguf_choose. */
struct gguf_block_make {
	struct coded of;
	enum gguf_block type;
};

/* Makes rows of blocks. Returns 0 or -ENOMEM. */
int gguf_block_rows(const struct gguf_block_make *make, struct arena *arena, const struct generator **g);

/*
 * The rows of another generator in the order of llama.cpp's rope: of each run of `head` rows (an even number), the
 * first half in even positions and the second half in odd ones. Returns 0 or -ENOMEM.
 */
int gguf_rope_rows(const struct generator *of, uint32_t head, struct arena *arena, const struct generator **g);

/* Rows of fp32 plus one. Returns 0 or -ENOMEM. */
int gguf_plus_one_rows(const struct generator *of, struct arena *arena, const struct generator **g);

#endif
