/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ACTIVATIONS_H
#define GPTQFS_ACTIVATIONS_H

#include "quant/family.h"

/*
 * Hides the scales and zeros of activations and caches beside quantized modules: they do not concern weights, and no
 * Hugging Face class has parameters for them. Call it after all families. Returns 0, or -ENOMEM with a message.
 */
int activations_hide(struct opening *o);

#endif
