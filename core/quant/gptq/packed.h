/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PACKED_H
#define GPTQFS_PACKED_H

/*
 * The tensors of the packed view: GPTQ as stored, or as form.h makes it, with joined modules side by side. Columns are
 * out_features, so a row of a joined qweight, or of scales, is the rows of its parts in sequence; all parts have the
 * same g_idx. Zeros are decoded, repaired if necessary, joined and encoded again, because a part may end inside a word.
 * A module without stored zeros gets the ones it is decoded with.
 */

#include "quant/gptq/gptq.h"
#include "quant/repack.h"

/*
 * Returns how the zeros of a model are written, V1 or V2. Those of other families are written as V2, which can express
 * all zeros; if all are the middle value, as V1, which more programs read.
 */
enum zeros packed_zeros(const struct tensors *ts);

/* Operations of gptq_repack: see repack.h. */
int packed_list(struct checkpoint *c, const struct tensors *ts, struct packed *out);
size_t packed_extents(const struct packed_tensor *t);
int packed_append(const struct packed *p, const struct packed_tensor *t, struct layout *layout);
uint64_t packed_parameters(const struct packed *p);

#endif
