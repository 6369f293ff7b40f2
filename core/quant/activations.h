/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ACTIVATIONS_H
#define GPTQFS_ACTIVATIONS_H

#include "quant/family.h"

/*
 * Takes the scales and zeros of activations and caches beside the modules that families have taken: they say nothing
 * about weights, and no class of Hugging Face has a parameter for them. Call it when all families are done.
 */
void activations_hide(struct opening *o);

#endif
