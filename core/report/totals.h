/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TOTALS_H
#define GPTQFS_TOTALS_H

/* Sums over a model. */

#include "base/sheet.h"
#include "tensor/tensor.h"

#define TALLY_MAX 8 /* values counted separately; the last slot counts the rest */

struct totals {
	struct tally bits[TALLY_MAX], group_sizes[TALLY_MAX]; /* most frequent first; -1 is one group per column */
	size_t bits_count, group_sizes_count;
	const char *formats[TALLY_MAX]; /* names of encodings, in order of first occurrence */
	size_t formats_count;
	uint64_t act_order, symmetric, repaired; /* numbers of modules */
	uint64_t parameters;
	uint64_t source_bytes;             /* stored size of the tensors served */
	uint64_t dense_bytes[DTYPE_VIEWS]; /* size of the data in a view of each type */
	enum dtype native;                 /* the most common stored float type, probably the model's original one */
};

void totals_of(const struct tensors *ts, struct totals *out);

#endif
