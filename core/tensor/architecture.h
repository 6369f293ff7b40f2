/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ARCHITECTURE_H
#define GPTQFS_ARCHITECTURE_H

/*
 * What Hugging Face's classes want that tensors alone do not tell. Everything here is keyed by config.json's
 * model_type; an unknown architecture has no entry, and then names and shapes are all there is.
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

/* A piece of a tensor's name, and what the class calls it. `within` must occur in the name too. */
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

/* True if the class has a bias in this module, or where that is not known. */
bool architecture_has_bias(const struct architecture *a, const struct json *config, const char *module);

/*
 * How many rows the embeddings of a model have, as its configuration tells: vocab_size, vocab_size_per_layer_input and
 * the like, at any depth. A size that is also the width of layers is left out: it would tell nothing.
 */
#define TABLES_MAX 16

struct tables {
	int64_t vocabulary[TABLES_MAX], positions[TABLES_MAX];
	size_t vocabularies, position_counts;
};

void architecture_tables(const struct json *config, struct tables *out);

/* A module by its name and by the shape of the Linear that its quantizer took it for. */
struct linear {
	const char *module;
	int64_t in_features, out_features;
};

/* True if the weight of this module is [in_features, out_features]: of a Conv1D, or of an embedding. */
bool architecture_keeps_orientation(const struct architecture *a, const struct tables *tables, struct linear linear);

/* True if this module is a Conv1D, whose weight is [in_features, out_features]. */
bool architecture_is_conv1d(const struct architecture *a, const char *module);

/* True if the text model takes its embedding for its head. */
bool architecture_ties_head(const struct json *config);

/* The name the class uses, in the arena, or `name` itself. NULL for lack of memory. */
const char *architecture_rename(const struct architecture *a, const char *name, struct arena *arena);

/* True if this module's parts may be joined. Vision and audio towers keep theirs apart where the text model does not.
 */
bool architecture_joins(const char *module);

#endif
