/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_EXPERTS_H
#define GPTQFS_EXPERTS_H

/*
 * How classes of transformers hold the experts of a layer: a module each, or all in one tensor. Quantizers always save
 * a module each, so a view has to stack them if transformers 4 reads a stack, or transformers 5 has no converter for
 * it. Sources: modeling_X.py of 4.57.6, and of 5.24.0 with its conversion_mapping.py.
 */

#include "base/json.h"

#define EXPERT_PARTS_MAX 2

/* The matrix of one expert in the stack of a class. */
enum expert_order {
	EXPERTS_ROWS,    /* [out_features, in_features]: the rows of the parts in sequence */
	EXPERTS_COLUMNS, /* [in_features, out_features]: those rows as columns */
	/*
	 * The same. The class of transformers 5 has rows and transposes a tensor of the wrong shape, so a square matrix
	 * is right only in transformers 4.
	 */
	EXPERTS_COLUMNS_UNLESS_SQUARE,
	/*
	 * Alternating columns of gate and up if those are the parts; columns in sequence if the quantizer cut the
	 * matrix into halves. See experts_cut_of.
	 */
	EXPERTS_COLUMNS_AS_CUT,
};

/* A tensor of the class. Names are suffixes; '#' is the number of an expert. */
struct expert_stack {
	const char *name;                   /* ".mlp.experts.gate_up_proj" */
	const char *part[EXPERT_PARTS_MAX]; /* ".mlp.experts.#.gate_proj.weight", ... */
	enum expert_order order;
};

struct expert_class {
	const char *model_type;
	const char *count;                 /* the key of config.json with the number of experts, or NULL */
	const struct expert_stack *stacks; /* up to name == NULL; NULL if transformers reads a module each */
};

/* Looks up the model_type of the configuration, or of its part for the text model. Returns NULL if unknown. */
const struct expert_class *experts_find(const struct json *config);

/* Returns the number of experts in the configuration, or 0. */
uint64_t experts_count(const struct expert_class *class, const struct json *config);

enum experts_cut {
	CUT_UNKNOWN,
	CUT_INTERLEAVED, /* gate has the even columns, up the odd ones */
	CUT_HALVES,      /* "gate" has the first half of the columns, "up" the second */
};

/*
 * Returns how a quantizer split matrices with alternating columns of gate and up. `producer` as in struct
 * tensors_labels, or NULL. GPTQModel and everything using the experts interface of transformers 5 cut halves; AutoRound
 * and llm-compressor had classes of their own for transformers 4.
 */
enum experts_cut experts_cut_of(const struct json *config, const char *producer);

#endif
