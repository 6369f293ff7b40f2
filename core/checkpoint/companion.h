/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_COMPANION_H
#define GPTQFS_COMPANION_H

/*
 * Which files of a model directory a view shows as they are. A view holds exactly one set of the model's weights, and
 * nothing that says "quantized": hidden is what the view replaces. What is a part of the model in its own right passes,
 * weights too: 2_Dense/model.safetensors of sentence-transformers, spk_dict.pt, all of a speech-lora/ directory.
 */

enum companion {
	COMPANION_PASSES,
	COMPANION_WEIGHTS, /* safetensors at the top: they pass unless they are another copy of what the model has */
	COMPANION_HIDDEN,
};

/* What the name tells, of a file that is neither among the model's weights nor their index. */
enum companion companion_of(const char *name);

#endif
