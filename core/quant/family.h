/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FAMILY_H
#define GPTQFS_FAMILY_H

/*
 * A family is how one kind of quantized checkpoint is recognised and its weights are found. Families are asked one
 * after the other, and each takes the modules that are its own: a checkpoint may hold several. What none of them takes
 * is served as it is stored, or refused by name (unsupported.h).
 */

#include "tensor/architecture.h"
#include "tensor/encoding.h"
#include "tensor/tensor.h"

#define OPENING_TALLIES 12

/* A checkpoint while families turn it into tensors. */
struct opening {
	struct checkpoint *c;
	const struct architecture *architecture;
	struct tables tables;
	struct tensors *out;
	struct gptqfs_error *err;
	bool *taken;           /* [c->tensor_count] not served as stored */
	uint64_t read;         /* bytes of tensors that opening has read so far */
	bool hide_activations; /* a family keeps scales of activations beside its modules: see activations.h */
	struct {
		const char *what, *then, *module; /* the first */
		size_t count;
	} tallies[OPENING_TALLIES];
};

struct family {
	const char *name; /* "GPTQ" */
	/* True if the checkpoint may hold something of this family that none before it has taken. Looks at names and
	 * types of tensors only. */
	bool (*claims)(const struct opening *o);
	/* Reads the family's configuration and adds its modules. Codes as gptqfs_open, with a message in o->err. */
	int (*open)(struct opening *o);
};

extern const struct family awq_family, gptq_family, bnb_family, fp4_family, fp8_family, compressed_family;

/* Returns the stored tensor MODULE<suffix>, or NULL. */
const struct st_tensor *opening_find(const struct opening *o, const char *module, const char *suffix);

/* The same of the module that `t` belongs to, whose name ends in `own`: "X.qzeros" of "X.scales". NULL also if the name
 * does not end so. */
const struct st_tensor *opening_beside(const struct opening *o, const struct st_tensor *t, const char *own,
    const char *other);

/* Returns the name of a tensor without `suffix`, which it must have, in the arena; NULL if out of memory. */
const char *opening_module(const struct opening *o, const struct st_tensor *t, const char *suffix);

/* The name of the file that holds a tensor, for messages. */
const char *opening_file(const struct opening *o, const struct st_tensor *t);

/* Adds tensor `name`, decoded from `e` (arena), and takes the parts of it. Returns 0 or -ENOMEM. */
int opening_add(struct opening *o, const char *name, struct encoded *e);

/* The stored tensor is not served; true once it is so. */
void opening_take(struct opening *o, const struct st_tensor *t);
bool opening_is_taken(const struct opening *o, const struct st_tensor *t);

/*
 * Reads a whole small tensor, or the first `bytes` of one, into fresh memory, which the caller frees. All that is read
 * while opening is bounded by what the shards take on disk: a sparse file of kilobytes may claim gigabytes. Codes as
 * gptqfs_open, with a message.
 */
int opening_read(struct opening *o, const struct st_tensor *t, uint64_t bytes, void **out);

/*
 * Calls fn for each quantization configuration until one call fails: those in the quantizer's files, then those inside
 * config.json. Returns what fn did, or -EBADMSG or -ENOMEM with a message.
 */
typedef int opening_config_fn(void *ctx, const char *where, const struct json *config);
int opening_configs(struct opening *o, opening_config_fn *fn, void *ctx);

/* Notes what a configuration calls the checkpoint, for reports; the first one counts. */
void opening_label(struct opening *o, const char *where, const struct json *config);

/* Sets the error of a tensor whose type or shape is not `expected`. Returns -EBADMSG. */
int opening_bad_tensor(struct opening *o, const struct st_tensor *t, const char *expected);

/* Counts a module for a warning: one for each kind, however many modules. `what` and what happens then are constants,
 * the latter "" or such as "; served as stored". */
void opening_tally(struct opening *o, const char *what, const char *then, const char *module);

#endif
