/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DEQUANT_KN_H
#define GPTQFS_DEQUANT_KN_H

#include "dequant.h"

/*
 * The matrix as it is packed, [in_features, out_features]: rows [k0, k0 + nk) of out_features elements each, for the
 * few weights that are kept that way (Conv1D, embeddings). The contract of dequant.h, in plain C only.
 */
struct dequant_kn {
	const struct qtensor *q;
	enum dtype out;
	uint32_t k0, nk;
};
void dequant_kn(void *dst, const struct dequant_kn *job);

#endif
