/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TENSOR_H
#define GPTQFS_TENSOR_H

/*
 * The ordinary model: its tensors as Hugging Face's class expects them, and the origin of each. Lives in the
 * checkpoint's arena and is constant once the views are planned.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checkpoint/checkpoint.h"

enum tensor_origin {
	TENSOR_STORED,  /* in a shard: copied or cast */
	TENSOR_ENCODED, /* quantized: decoded by its encoding */
	TENSOR_JOINED,  /* the rows of several tensors in sequence */
	TENSOR_STACKED, /* the experts of a layer: struct stacked */
	TENSOR_ZEROS,   /* the bias of a part of a joined module that has none; its name is "" */
	TENSOR_ADAPTED, /* another tensor with adapters merged into it: struct adapted (adapted.h) */
};

/* How the matrix of each expert is composed. */
enum stack_order {
	STACK_ROWS,        /* the rows of its parts in sequence */
	STACK_COLUMNS,     /* [in_features, out_features]: those rows as columns */
	STACK_INTERLEAVED, /* the same, with alternating columns of all parts */
};

/* All experts of a layer in one tensor, [experts, rows, columns], or [experts, rows] of biases. */
struct stacked {
	enum stack_order order;
	size_t experts, per_expert;
	const struct tensor *const *part; /* [experts * per_expert] matrices [out_features, in_features], or biases */
	const struct generator **transposed[DTYPE_VIEWS]; /* [experts] unless STACK_ROWS; made as the encoded's are */
};

/* Rows that an adapter supplies instead of the tensor's. */
struct adapted_given {
	const struct st_tensor *stored; /* [count, columns] */
	const struct given_row *rows;   /* [count] ascending */
	size_t count;
};

/* A tensor with adapters merged into it: see adapted.h. */
struct adapted {
	const struct tensor *base;
	uint64_t matrices;
	struct adapted_term **terms; /* [layers][matrices] one layer per adapter, in their order */
	size_t layers;
	const struct lora_factor *magnitude; /* DoRA's m, by row; or NULL: then there is one layer, of one matrix */
	struct adapted_given given;
	uint64_t bytes;             /* of adapters' tensors */
	struct source_file **files; /* [file_count] of the adapters */
	size_t file_count;
	const struct generator *dense[DTYPE_VIEWS]; /* made while views are planned, shared by all of them */
};

/* Only tensor/dense.c switches on the origin; others use the functions below. */
struct tensor {
	const char *name;      /* "model.layers.0.mlp.up_proj.weight" */
	const uint64_t *shape; /* [ndim] */
	uint8_t ndim;
	uint8_t origin; /* enum tensor_origin */
	union {
		const struct st_tensor *stored;
		struct encoded *encoded;
		struct stacked *stacked;
		struct adapted *adapted;
		struct {
			const struct tensor *const *parts;
			size_t part_count;
		};
	};
};

/* Labels of the checkpoint in its configurations, for reports. NULL or 0 if absent. */
struct tensors_labels {
	const char *configuration; /* the file: "quantize_config.json" */
	const char *checkpoint_format, *producer;
	int64_t group_size; /* -1: one group */
};

/* A list of tensors: first floats, then others, both in bytewise order of names. */
struct tensors {
	struct tensor *list; /* [count] */
	size_t count;
	size_t float_count;       /* number of float tensors */
	struct encoded **encoded; /* [encoded_count] quantized modules, sorted by family, then by name */
	size_t encoded_count;
	struct tensors_labels labels;
	const struct tensors *base; /* the list before adapters were merged; NULL: this one */
};

/* Returns the tensor that adapters were merged into; the tensor itself if none were. */
const struct tensor *tensor_base(const struct tensor *t);

/* True for float tensors, which a view converts to its type. */
bool tensor_is_float(const struct tensor *t);

uint64_t tensor_elements(const struct tensor *t);

/* Returns the type of a stored tensor; DTYPE_COUNT for any other, an adapted one too. */
enum dtype tensor_stored_dtype(const struct tensor *t);

/* Returns the source of an encoded tensor, or of an adapted one whose base is encoded; NULL for any other. */
struct encoded *tensor_encoded(const struct tensor *t);

/* Returns the parts of a joined or stacked tensor, else `t` alone, which must then outlive the result. */
const struct tensor *const *tensor_parts(const struct tensor *const *t, size_t *count);

/* Returns the number of bytes of the shards that the tensor is computed from. */
uint64_t tensor_stored_bytes(const struct tensor *t);

/* Returns the tensor of that name, or NULL. The list must be sorted. */
const struct tensor *tensors_find(const struct tensors *ts, const char *name);

/* Sorts the list as described at struct tensors. */
void tensors_sort(struct tensors *ts);

/* Returns "q_proj" for "model.layers.0.self_attn.q_proj.weight", in the arena. NULL if out of memory. */
const char *tensor_short_name(const struct tensor *t, struct arena *arena);

#endif
