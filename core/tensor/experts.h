/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_EXPERTS_H
#define GPTQFS_EXPERTS_H

/*
 * How classes of transformers hold the experts of a layer: one module for each, or all in one tensor. Quantizers save
 * one module for each whatever the class does, so a view has to stack them where transformers 4 reads a stack and where
 * transformers 5 has no converter that does it. Sources: modeling_X.py of 4.57.6, and of 5.24.0 with its
 * conversion_mapping.py.
 */

#include "base/json.h"

#define EXPERT_PARTS_MAX 2

/* The matrix of one expert in the stack of a class. */
enum expert_order {
	EXPERTS_ROWS,    /* [out_features, in_features]: the rows of the parts, one after the other */
	EXPERTS_COLUMNS, /* [in_features, out_features]: those rows as columns */
	/* The same, and transformers 5, whose class has rows, transposes what does not fit as it is. A square matrix is
	 * right in transformers 4 alone. */
	EXPERTS_COLUMNS_UNLESS_SQUARE,
	/* Columns of gate and up in turns, where those are the parts; where a quantizer cut the whole into halves, they
	 * are columns one after the other. See experts_cut_of. */
	EXPERTS_COLUMNS_AS_CUT,
};

/* A tensor of the class. Names are ends of names; '#' is the number of an expert. */
struct expert_stack {
	const char *name;                   /* ".mlp.experts.gate_up_proj" */
	const char *part[EXPERT_PARTS_MAX]; /* ".mlp.experts.#.gate_proj.weight", ... */
	enum expert_order order;
};

struct expert_class {
	const char *model_type;
	const char *count; /* the key of config.json with the number of experts, or NULL */
	const struct expert_stack
	    *stacks; /* up to one with name == NULL; NULL: transformers reads one module for each */
};

/* By model_type of the configuration, or of a part of it that describes the text model. NULL if it is not known. */
const struct expert_class *experts_find(const struct json *config);

/* The number of experts that the configuration gives, or 0. */
uint64_t experts_count(const struct expert_class *class, const struct json *config);

enum experts_cut {
	CUT_UNKNOWN,
	CUT_TURNS,  /* gate has the even columns, up the odd ones */
	CUT_HALVES, /* "gate" has the first half of all columns, "up" the second */
};

/*
 * How a quantizer cut matrices that hold gate and up in turns. `producer` as in struct tensors_labels, or NULL.
 * GPTQModel and everything that works with transformers 5's interface for experts cut halves; AutoRound and
 * llm-compressor had classes of their own for transformers 4.
 */
enum experts_cut experts_cut_of(const struct json *config, const char *producer);

#endif
