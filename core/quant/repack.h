/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_REPACK_H
#define GPTQFS_REPACK_H

/*
 * Modules that are joined while they stay quantized: what the packed view shows. It exists where all quantized modules
 * of a model have encodings with the same struct repack_ops.
 */

#include "tensor/encoding.h"
#include "tensor/join.h"
#include "tree/layout.h"

struct packed_tensor {
	int kind;                    /* the encoding's */
	const struct tensor *tensor; /* the weight that it is, or belongs to */
	struct st_tensor shown;      /* as a header lists it */
};

struct packed {
	struct checkpoint *c;
	struct packed_tensor *list; /* [count] arena; in the order of the file */
	size_t count;
};

/* Two parts of a joined weight, the first of all and another, and their short names for messages. */
struct repack_pair {
	struct arena *arena;
	const struct encoded *first, *other;
	const char *first_name, *other_name;
};

struct repack_ops {
	/* Returns why the rows of one cannot follow those of the other in packed form, or NULL if they can. */
	const char *(*unlike)(const struct repack_pair *p);
	/* Lists the tensors of a list that repack_join made. Returns 0 or -ENOMEM. */
	int (*list)(struct checkpoint *c, const struct tensors *ts, struct packed *out);
	/* The number of extents that `append` adds; appends the bytes of a tensor. Returns 0 or -ENOMEM. */
	size_t (*extents)(const struct packed_tensor *t);
	int (*append)(const struct packed *p, const struct packed_tensor *t, struct layout *layout);
	/* The number of weights and other numbers that the tensors hold. */
	uint64_t (*parameters)(const struct packed *p);
	/* Writes the quantization configuration, lines after the first indented by `indent` more. 0 or -ENOMEM. */
	int (*configure)(const struct tensors *ts, int indent, struct text *out);
};

/* The operations that all quantized modules share, or NULL. */
const struct repack_ops *repack_of(const struct tensors *ts);

/*
 * What the packed view shows: *packed is *fused with the parts of those joined tensors in place that are not one
 * quantized module (or one stored tensor, where none is quantized). `refusals` gets which and why. Returns 0 or
 * -ENOMEM.
 */
int repack_join(struct arena *arena, const struct tensors *fused, struct tensors *packed,
    struct join_refusals *refusals);

#endif
