/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TOTALS_H
#define GPTQFS_TOTALS_H

/* Sums over a model. */

#include "base/sheet.h"
#include "tensor/tensor.h"

#define TALLY_MAX 8 /* different values that are counted one by one; beyond, the last counts the rest */

struct totals {
	struct tally bits[TALLY_MAX], group_sizes[TALLY_MAX]; /* most frequent first; -1 is one group per column */
	size_t bits_count, group_sizes_count;
	const char *formats[TALLY_MAX]; /* names of encodings, in the order in which they come first */
	size_t formats_count;
	uint64_t act_order, symmetric, repaired; /* modules */
	uint64_t parameters;
	uint64_t source_bytes;             /* of the tensors that are served, as they are stored */
	uint64_t dense_bytes[DTYPE_VIEWS]; /* of the data in the view of each type */
	enum dtype native;                 /* the type most of the stored floats have: what the model was made in */
};

void totals_of(const struct tensors *ts, struct totals *out);

#endif
