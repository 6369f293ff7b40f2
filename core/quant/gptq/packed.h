/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PACKED_H
#define GPTQFS_PACKED_H

/*
 * The tensors of the packed view: GPTQ as stored, with joined modules side by side. Columns are out_features, so a row
 * of a joined qweight, or of scales, is the rows of its parts in sequence; all parts have the same g_idx. Zeros are
 * decoded, repaired if necessary, joined and encoded again, because a part may end inside a word. A module without
 * stored zeros gets those it is decoded with.
 */

#include "quant/gptq/gptq.h"
#include "quant/repack.h"

/* Returns the modules of a weight: one, or those that are joined; 0 if it is not quantized. */
size_t gptq_modules(const struct tensor *t, struct gptq_module *modules[JOIN_PARTS_MAX]);

/* Operations of gptq_repack: see repack.h. */
int packed_list(struct checkpoint *c, const struct tensors *ts, struct packed *out);
size_t packed_extents(const struct packed_tensor *t);
int packed_append(const struct packed *p, const struct packed_tensor *t, struct layout *layout);
uint64_t packed_parameters(const struct packed *p);

#endif
