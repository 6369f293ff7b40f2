/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SOURCE_H
#define GPTQFS_SOURCE_H

/*
 * A source turns the stored tensors of one quantization family into the tensors of the ordinary model. Adding a
 * family: one source_X.c, and a row in source.c.
 */

#include <stdatomic.h>

#include "checkpoint/checkpoint.h"
#include "kernel/kernels.h"

#define TENSOR_FILES 4

struct generator;
struct join_refusal;

/* One tensor of the ordinary model. */
struct tensor {
	const char *name;      /* as Hugging Face's class wants it: "model.layers.0.mlp.up_proj.weight" */
	const uint64_t *shape; /* [ndim] */
	uint8_t ndim;
	/* One of the three is set; none for zeros. */
	const struct st_tensor *stored;    /* stands in a shard as it is, or to be cast */
	struct module *module;             /* to be dequantized */
	const struct tensor *const *parts; /* [part_count] joined: the rows of one after those of the other */
	size_t part_count;
};

/* One quantized module: what became of NAME.qweight and the tensors beside it. */
struct module {
	const char *name;      /* "model.layers.0.mlp.up_proj" */
	struct qtensor q;      /* points into the maps: read it under source_guard */
	bool keep_orientation; /* the weight is [in_features, out_features]: a Conv1D or an embedding */
	struct source_file *files[TENSOR_FILES]; /* its shards, each once, then NULL */
	uint64_t packed_bytes;                   /* qweight, qzeros, scales and g_idx as stored */
	uint64_t qweight_bytes;
	enum zeros convention; /* of qzeros: V1 or V2, also where q.zeros is MIDDLE: they are absent, or repaired */
	bool symmetric;        /* the first row of zeros is the middle value throughout */
	atomic_bool fetched;   /* its pages were asked for */
	const char *repair;    /* the known fault of its stored zeros that is repaired here, or NULL */
	/* As stored; the latter two are NULL where there is none. */
	const struct st_tensor *qweight, *scales, *qzeros, *g_idx;
	const struct generator *generators[DTYPE_VIEWS]; /* that decode it, by type; NULL where no view asked yet */
};

struct source {
	const char *format;     /* "GPTQ" */
	struct tensor *tensors; /* those of a float type first, each part in bytewise order of names; arena */
	size_t tensor_count;
	size_t float_count;     /* how many of them are of a float type */
	struct module *modules; /* by name */
	size_t module_count;
	const struct join_refusal *apart; /* [apart_count] what fused and packed views leave apart: see join.h */
	size_t apart_count;
};

struct source_ops {
	const char *name;
	/* Does the checkpoint hold anything of this family? Looks at tensor names only. */
	bool (*probe)(const struct checkpoint *c);
	/* Everything in *out lives in the checkpoint's arena. Codes as gptqfs_open. */
	int (*open)(struct checkpoint *c, struct source *out, struct gptqfs_error *err);
};

extern const struct source_ops source_gptq;

/* Has it a float type, so that views give it theirs? And how many elements. */
bool tensor_is_float(const struct tensor *t);
uint64_t tensor_elements(const struct tensor *t);

/* The tensor with that name, or NULL. */
const struct tensor *source_find(const struct source *s, const char *name);

/* Puts the tensors in the order that struct source promises. */
void source_sort(struct source *s);

/* Opens the checkpoint with the family it belongs to. -ENOTSUP with the name of a format that is not served. */
int source_open(struct checkpoint *c, struct source *out, struct gptqfs_error *err);

#endif
