/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ARCHITECTURE_H
#define GPTQFS_ARCHITECTURE_H

/*
 * What Hugging Face's classes require that tensors alone do not show, by config.json's model_type. For an unknown
 * architecture, names and shapes must suffice. Sources: the modeling files of transformers, and the module trees of
 * GPTQModel.
 */

#include <stdbool.h>

#include "base/json.h"

/* The rows of part[0], then of part[1], ... are one tensor of the class. Names are suffixes of module names. */
#define JOIN_PARTS_MAX 3

struct join_rule {
	const char *joined;               /* ".mlp.gate_up_proj" */
	const char *part[JOIN_PARTS_MAX]; /* ".mlp.gate_proj", ".mlp.up_proj" */
};

/* A piece of a tensor's name, and its name in the class. `within` must also occur in the tensor's name. */
struct rename_rule {
	const char *within;
	const char *from, *to;
};

enum bias_rule {
	BIAS_UNKNOWN, /* any module may have one */
	BIAS_NONE,    /* no linear layer has one, unless config.json sets attention_bias or mlp_bias */
	BIAS_QKV,     /* only q_proj, k_proj and v_proj have one */
};

struct architecture {
	const char *model_type;
	enum bias_rule bias;
	bool conv1d; /* linear layers are transformers' Conv1D, whose weight is [in_features, out_features] */
	const struct join_rule *joins;     /* ends with joined == NULL; may be NULL */
	const struct rename_rule *renames; /* ends with from == NULL; may be NULL */
};

/*
 * Looks up the model_type of the configuration, or of its text_config. Never NULL: an unknown type gets an empty entry.
 */
const struct architecture *architecture_find(const struct json *config);

/* What a model's configuration says about biases. */
struct biases {
	bool attention, mlp;
};

void architecture_biases(const struct json *config, struct biases *out);

/* True if the class has a bias in this module, or if that is unknown. */
bool architecture_has_bias(const struct architecture *a, const struct biases *biases, const char *module);

/*
 * The possible numbers of rows of a model's embeddings: vocab_size, vocab_size_per_layer_input and the like, at any
 * depth of its configuration. Sizes that are also layer widths are left out, as they would not identify an embedding.
 */
#define TABLES_MAX 16

struct tables {
	int64_t vocabulary[TABLES_MAX], positions[TABLES_MAX];
	size_t vocabularies, position_counts;
};

void architecture_tables(const struct json *config, struct tables *out);

/* A module by name, and the shape it would have as a Linear, as the quantizer saw it. */
struct linear {
	const char *module;
	int64_t in_features, out_features;
};

/* True if the weight of this module is [in_features, out_features]: a Conv1D or an embedding. */
bool architecture_keeps_orientation(const struct architecture *a, const struct tables *tables, struct linear linear);

/* True if this module is a Conv1D, whose weight is [in_features, out_features]. */
bool architecture_is_conv1d(const struct architecture *a, const char *module);

/*
 * True if the text model uses its embedding as its head; `unsaid` if the configuration leaves it to the class, and that
 * is not known to do so.
 */
bool architecture_ties_head(const struct json *config, bool unsaid);

/* True if the class has a head for words. */
bool architecture_has_head(const struct json *config);

/* Returns the name in the class, in the arena, or `name` itself. NULL if out of memory. */
const char *architecture_rename(const struct architecture *a, const char *name, struct arena *arena);

/* True if this module's parts may be joined. Those of vision and audio towers may not, even if the text model's are. */
bool architecture_joins(const char *module);

#endif
