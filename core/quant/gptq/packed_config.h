/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PACKED_CONFIG_H
#define GPTQFS_PACKED_CONFIG_H

/*
 * The quantization configuration of the packed view. It is generated from the tensors, since names differ from those in
 * the source's configuration.
 */

#include "tensor/tensor.h"

/*
 * Writes it as a JSON object, with all lines but the first indented by `indent` more. `ts` comes from repack_join. The
 * object describes the most common modules; `dynamic` has a pattern, matching only that name, for each module that
 * differs and each matrix that is not quantized.
 *
 * modules_in_block_to_quantize names every quantized module, and the parts of joined ones: if the class joins them,
 * vLLM looks up qkv_proj by q_proj, k_proj and v_proj, and takes anything unlisted as unquantized. It is a list of
 * lists, as vLLM and optimum, which matches suffixes, expect. Returns 0 or -ENOMEM.
 */
int packed_config_write(const struct tensors *ts, int indent, struct text *out);

#endif
