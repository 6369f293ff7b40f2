/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CODED_H
#define GPTQFS_CODED_H

/*
 * Weights of integer codes in blocks of other programs' formats: what view/gguf and view/mlx share. A block holds
 * consecutive weights of a row in a fixed number of bytes. Blocks are made tile by tile, from codes, zeros and scales.
 */

#include "kernel/kernels.h"
#include "tensor/encoding.h"

struct coded {
	struct encoded *e;
	const struct kernels *kernels;
	uint32_t run, step;    /* of its levels */
	const uint16_t *units; /* coded_units of its scales */
};

struct coded_block {
	uint32_t weights, bytes;
};

/* Returns why a weight cannot be stored in blocks at all, a constant; NULL if it may be. */
const char *coded_refusal(const struct encoded *e, bool has_codes);

/* Appends a line about a module that stays a float. */
void coded_remark(struct text *out, const struct encoded *e, const char *reason);

/* Returns `scales` units for struct encoding's `units`, in the arena; or NULL if out of memory. */
const uint16_t *coded_units(struct arena *arena, uint64_t scales);

/*
 * Fills in a generator of rows of blocks, all but its operations. Its inputs are those of the dense rows. Returns 0 or
 * -ENOMEM.
 */
int coded_rows(const struct coded *c, struct coded_block block, struct arena *arena, struct generator *g);

/* Adds the mapped bytes that rows are made of, whatever their columns. */
void coded_needs(const struct coded *c, const struct rect *r, struct spans *out);

/* Returns the columns of a tile: as many whole steps as fit into `most`, at least one, at most the row. */
uint32_t coded_tile_columns(const struct coded *c, struct coded_block block, uint32_t most);

/* Returns the weights in a rectangle of blocks. */
struct kernel_rect coded_weights(const struct rect *r, struct coded_block block);

/* Returns the most runs of columns that a tile can have. */
uint32_t coded_runs_max(const struct coded *c, uint32_t columns);

/* Writes zeros and fp16 scales of a tile: [runs][rows]. Either may be NULL. Reads maps. */
void coded_load_runs(const struct coded *c, const struct kernel_rect *tile, uint8_t *zero, uint16_t *half);

#endif
