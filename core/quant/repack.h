/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_REPACK_H
#define GPTQFS_REPACK_H

/*
 * Joining modules that stay quantized, for the packed view. A model has it if the encodings of all its quantized
 * modules share a struct repack_ops that does not refuse them.
 */

#include "tensor/encoding.h"
#include "tensor/join.h"
#include "tree/layout.h"

struct packed_tensor {
	int kind;                    /* private to the encoding */
	const struct tensor *tensor; /* the weight it is or belongs to */
	struct st_tensor shown;      /* entry in the header */
};

struct packed {
	struct checkpoint *c;
	struct packed_tensor *list; /* [count] arena; in file order */
	size_t count;
	int convention; /* private to the encoding */
};

/* The first part of a joined weight and another, with short names for messages. */
struct repack_pair {
	struct arena *arena;
	const struct encoded *first, *other;
	const char *first_name, *other_name;
};

struct repack_ops {
	const char *const *suffixes; /* of a packed module's tensors, NULL-terminated: ".qweight", ... */
	/* Sets *reason to why a model cannot be packed, in the arena, or to NULL. Returns 0 or -ENOMEM. */
	int (*refuse)(struct arena *arena, const struct tensors *ts, const char **reason);
	/* Returns why two parts cannot be joined in packed form, or NULL. */
	const char *(*unlike)(const struct repack_pair *p);
	/* Lists the stored tensors for a list from repack_join. Returns 0 or -ENOMEM. */
	int (*list)(struct checkpoint *c, const struct tensors *ts, struct packed *out);
	/* Return the number of extents of a tensor; append them, and return 0 or -ENOMEM. */
	size_t (*extents)(const struct packed_tensor *t);
	int (*append)(const struct packed *p, const struct packed_tensor *t, struct layout *layout);
	/* Returns the number of parameters in the tensors. */
	uint64_t (*parameters)(const struct packed *p);
	/*
	 * Writes the quantization configuration, lines after the first indented by `indent` more. Returns 0 or -ENOMEM.
	 */
	int (*configure)(const struct tensors *ts, int indent, struct text *out);
};

/* GPTQ's packed form, which weights of other families may have too: quant/gptq/form.h. */
extern const struct repack_ops gptq_repack;

/* Sets *ops to the operations that all quantized modules share; or to NULL, with *reason. Returns 0 or -ENOMEM. */
int repack_find(struct arena *arena, const struct tensors *ts, const struct repack_ops **ops, const char **reason);

/*
 * Makes the list for the packed view: *fused, but joined tensors whose parts cannot be joined in packed form are
 * replaced by their parts, and added to `refusals` with the reason. Returns 0 or -ENOMEM.
 */
int repack_join(struct arena *arena, const struct tensors *fused, struct tensors *packed,
    struct join_refusals *refusals);

#endif
