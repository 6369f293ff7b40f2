/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FAMILY_H
#define GPTQFS_FAMILY_H

/*
 * A family recognises one kind of quantized checkpoint and finds its weights. Families are asked in turn, and each
 * takes its own modules: a checkpoint may hold several. What none of them takes is served as stored, or refused by name
 * (unsupported.h).
 */

#include "tensor/architecture.h"
#include "tensor/encoding.h"
#include "tensor/tensor.h"

#define OPENING_TALLIES 12

/* A checkpoint being turned into tensors by families. */
struct opening {
	struct checkpoint *c;
	const struct architecture *architecture;
	struct tables tables;
	struct biases biases;
	struct tensors *out;
	struct gptqfs_error *err;
	size_t room, encoded_room; /* in the lists of *out */
	bool *taken;               /* [c->tensor_count] not served as stored */
	uint64_t read;             /* bytes of tensors read so far */
	bool hide_activations;     /* a family stores scales of activations: see activations.h */
	struct {
		const char *what, *then, *module; /* the first */
		size_t count;
	} tallies[OPENING_TALLIES];
};

struct family {
	const char *name; /* "GPTQ" */
	/*
	 * True if the checkpoint may hold modules of this family that no earlier one has taken. Looks only at names and
	 * types of tensors.
	 */
	bool (*claims)(const struct opening *o);
	/* Reads the family's configuration and adds its modules. Codes of gptqfs_open, with a message in o->err. */
	int (*open)(struct opening *o);
};

extern const struct family awq_family, hqq_family, gptq_family, bnb_family, fp4_family, fp8_family, compressed_family,
    mlx_family, gemma_family;

/* Returns the stored tensor MODULE<suffix>, or NULL. */
const struct st_tensor *opening_find(const struct opening *o, const char *module, const char *suffix);

/*
 * Returns the stored tensor <module of t><other>, or NULL: "X.qzeros" for "X.scales". `own` is the suffix of t; if its
 * name does not end in that, returns NULL.
 */
const struct st_tensor *opening_beside(const struct opening *o, const struct st_tensor *t, const char *own,
    const char *other);

/* Returns the name of a tensor without `suffix`, which it must have, in the arena; NULL if out of memory. */
const char *opening_module(const struct opening *o, const struct st_tensor *t, const char *suffix);

/* Returns the name of the file that holds a tensor, for messages. */
const char *opening_file(const struct opening *o, const struct st_tensor *t);

/* Adds a tensor of any origin. Returns 0 or -ENOMEM. */
int opening_put(struct opening *o, const struct tensor *t);

/* Sets a stored tensor as part `i` of a weight; nothing if it is NULL. */
void opening_part(const struct opening *o, struct encoded *e, size_t i, const struct st_tensor *t);

/* Adds tensor `name`, decoded from `e` (arena), and takes its parts. Returns 0 or -ENOMEM. */
int opening_add(struct opening *o, const char *name, struct encoded *e);

/* The same with MODULE.weight, which has the shape [rows, columns], or if e->transposed [columns, rows]. */
int opening_add_matrix(struct opening *o, struct encoded *e, uint64_t rows, uint64_t columns);

/* True if `is` holds for a tensor that no family took. */
bool opening_has(const struct opening *o, bool (*is)(const struct opening *o, const struct st_tensor *t));

/* Excludes a stored tensor from being served as stored; true if it is excluded. */
void opening_take(struct opening *o, const struct st_tensor *t);
bool opening_is_taken(const struct opening *o, const struct st_tensor *t);

/*
 * Reads the first `bytes` of a tensor into new memory, which the caller frees. The total of such reads is bounded by
 * the size of the shards on disk: a sparse file of kilobytes may claim gigabytes. Codes of gptqfs_open, with a message.
 */
int opening_read(struct opening *o, const struct st_tensor *t, uint64_t bytes, void **out);

/*
 * Hides the zero points of a module whose format has none: some writers store zeros there. Returns 0; -ENOTSUP with a
 * message if one of them is not zero; other codes as opening_read.
 */
int opening_drop_zeros(struct opening *o, const char *module);

/*
 * The same for the groups of columns, which come in order in this many columns each. Returns 0; -ENOTSUP with a message
 * if the module has them in another order; other codes as opening_read.
 */
int opening_drop_order(struct opening *o, const char *module, uint32_t columns, uint32_t size);

/* True if groups of this many columns come in order. A -1 anywhere means that, whatever the others are. */
bool opening_is_ordered(const uint32_t *g_idx, uint32_t columns, uint32_t size);

/*
 * Calls fn for each quantization configuration until a call fails: those in the quantizer's files, then those inside
 * config.json. Returns the last result of fn, or -EBADMSG or -ENOMEM with a message.
 */
typedef int opening_config_fn(void *ctx, const char *where, const struct json *config);
int opening_configs(struct opening *o, opening_config_fn *fn, void *ctx);

/* An opening_config_fn: records the labels of a configuration, for reports; the first configuration wins. Returns 0. */
int opening_label(void *opening, const char *where, const struct json *config);

/* Refuses a tensor that makes a matrix larger than MATRIX_ROWS_MAX by MATRIX_COLUMNS_MAX. Returns 0 or -EBADMSG. */
int opening_check_size(struct opening *o, const struct st_tensor *t, uint64_t rows, uint64_t columns);

/* Refuses a module that has a .weight beside its codes, whose suffix is `own`. Returns 0 or -EBADMSG. */
int opening_check_weight(struct opening *o, const struct st_tensor *codes, const char *own);

/* Reports a tensor whose type or shape is not `expected`. Returns -EBADMSG. */
int opening_bad_tensor(struct opening *o, const struct st_tensor *t, const char *expected);

/*
 * Counts a module towards a warning; there is one warning per `what`. `what` and `then`, the consequence ("; served as
 * stored" or ""), must be string constants.
 */
void opening_tally(struct opening *o, const char *what, const char *then, const char *module);

#endif
