/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PACKED_CONFIG_H
#define GPTQFS_PACKED_CONFIG_H

/*
 * The quantization configuration of the packed view. It is written anew, from what the tensors are: names are others
 * than those the source's configuration goes by.
 */

#include "tensor/tensor.h"

/*
 * Writes it as a JSON object whose lines, but for the first, are indented by `indent` more. `ts` is a list that
 * repack_join made. Most modules are as the object says. `dynamic` has one pattern, which matches its name and no
 * other, for each that differs, and for each matrix that is not quantized.
 *
 * modules_in_block_to_quantize names every quantized module, joined ones also by the names of their parts: vLLM asks
 * for qkv_proj by q_proj, k_proj and v_proj where the class joins them, and takes what is not listed for unquantized;
 * it and optimum, which asks for the ends of names, take a list of lists. Returns 0 or -ENOMEM.
 */
int packed_config_write(const struct tensors *ts, int indent, struct text *out);

#endif
