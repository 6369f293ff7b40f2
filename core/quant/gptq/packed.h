/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PACKED_H
#define GPTQFS_PACKED_H

/*
 * The tensors of the packed view: GPTQ as it is stored, but modules that are joined stand side by side. Columns are
 * out_features, so rows of a joined qweight, and of scales, are rows of one part after those of the other; g_idx is
 * that of the parts. Zeros are joined as decoded - repaired ones too - and encoded again on whole words, because a part
 * may end inside of one. A module that stores no zeros gets the ones it is read with.
 */

#include "tensor/architecture.h"
#include "tree/layout.h"

enum packed_kind {
	PACKED_STORED, /* not quantized: as it is stored */
	PACKED_G_IDX,
	PACKED_QWEIGHT,
	PACKED_QZEROS,
	PACKED_SCALES,
};

struct packed_tensor {
	enum packed_kind kind;
	const struct tensor *tensor; /* the weight that it is, or belongs to */
	struct st_tensor shown;      /* as a header lists it */
};

struct packed {
	struct checkpoint *c;
	/* By name; those whose bytes would put the next one on an odd address last, those of large elements first. */
	struct packed_tensor *list; /* [count] arena */
	size_t count;
};

/* The tensors of a source that join_packed made. Returns 0 or -ENOMEM. */
int packed_list(struct checkpoint *c, const struct source *s, struct packed *out);

/* The number of extents packed_append adds; and appends the bytes of a tensor. 0 or -ENOMEM. Not thread-safe. */
size_t packed_extents(const struct packed_tensor *t);
int packed_append(const struct packed *p, const struct packed_tensor *t, struct layout *layout);

/* How many weights, and other numbers, the tensors hold; words hold several. */
uint64_t packed_parameters(const struct packed *p);

/* Its modules: one, or those that are joined; none if the tensor is not quantized. */
size_t packed_modules(const struct tensor *t, struct module *modules[JOIN_PARTS_MAX]);

#endif
