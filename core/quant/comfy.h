/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_COMFY_H
#define GPTQFS_COMFY_H

/*
 * ComfyUI describes in JSON how it stores a layer: in a tensor MODULE.comfy_quant, or in __metadata__ of the header.
 * Its names are those of ModelOpt and others, but only FP8 with a plain scale means the same: scales of NVFP4 and MXFP8
 * are in the order of tensor cores, and int8 may be rotated. Source: comfy-kitchen's tensor/.
 */

#include "quant/family.h"

/* Takes the description of a module in FP8 if its scale is a plain one. Codes of opening_read. */
int comfy_take(struct opening *o, const char *module);

/* Refuses layers that headers describe as anything else. Returns 0 or -ENOTSUP. */
int comfy_refuse(const struct opening *o);

#endif
