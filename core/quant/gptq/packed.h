/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PACKED_H
#define GPTQFS_PACKED_H

/*
 * The tensors of the packed view: GPTQ as it is stored, with joined modules side by side. Columns are out_features, so
 * a row of a joined qweight, or of scales, is the rows of its parts one after the other; g_idx is that of the parts.
 * Zeros are joined as decoded - repaired ones too - and encoded again in whole words, because a part may end inside a
 * word. A module that stores no zeros gets the ones it is read with.
 */

#include "quant/gptq/gptq.h"
#include "quant/repack.h"

/* The modules of a weight: one, or those that are joined; 0 if it is not quantized. */
size_t gptq_modules(const struct tensor *t, struct gptq_module *modules[JOIN_PARTS_MAX]);

/* Operations of gptq_repack: see repack.h. */
int packed_list(struct checkpoint *c, const struct tensors *ts, struct packed *out);
size_t packed_extents(const struct packed_tensor *t);
int packed_append(const struct packed *p, const struct packed_tensor *t, struct layout *layout);
uint64_t packed_parameters(const struct packed *p);

#endif
