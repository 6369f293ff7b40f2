/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ARCHITECTURE_H
#define GPTQFS_ARCHITECTURE_H

/*
 * What Hugging Face's classes want that tensors alone do not tell. Everything here is keyed by config.json's
 * model_type; an architecture nobody has heard of has no entry, and then names and shapes are all there is.
 * Sources: the modeling files of transformers, and the module trees of GPTQModel.
 */

#include <stdbool.h>

#include "base/json.h"

/* Rows of `part[0]`, then of `part[1]`, ... are one tensor of the class. Names are ends of module names. */
#define JOIN_PARTS_MAX 3

struct join_rule {
	const char *joined;               /* ".mlp.gate_up_proj" */
	const char *part[JOIN_PARTS_MAX]; /* ".mlp.gate_proj", ".mlp.up_proj" */
};

/* A piece of a tensor's name, and what the class calls it. `within` must stand in the name too. */
struct rename_rule {
	const char *within;
	const char *from, *to;
};

enum bias_rule {
	BIAS_UNKNOWN, /* may be anywhere */
	BIAS_NONE,    /* in no linear layer, unless config.json says attention_bias or mlp_bias */
	BIAS_QKV,     /* in q_proj, k_proj and v_proj only */
};

struct architecture {
	const char *model_type;
	enum bias_rule bias;
	bool conv1d; /* linear layers are transformers' Conv1D, whose weight is [in_features, out_features] */
	const struct join_rule *joins;     /* up to one with joined == NULL; may be NULL */
	const struct rename_rule *renames; /* up to one with from == NULL; may be NULL */
};

/* By model_type of the configuration, or of its text_config. Never NULL: an unknown one gets an entry without facts. */
const struct architecture *architecture_find(const struct json *config);

/* Does the class have a bias in this module? True where it is not known. */
bool architecture_has_bias(const struct architecture *a, const struct json *config, const char *module);

/* Is the weight of this module [in_features, out_features]: a Conv1D, or an embedding? */
bool architecture_keeps_orientation(const struct architecture *a, const char *module);

/* The name the class uses, in the arena, or `name` itself. NULL for lack of memory. */
const char *architecture_rename(const struct architecture *a, const char *name, struct arena *arena);

/* May this module's parts be joined? Vision and audio towers keep theirs apart where the text model does not. */
bool architecture_joins(const char *module);

#endif
