/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_COMPANION_H
#define GPTQFS_COMPANION_H

/*
 * Which files of a model directory views show unchanged. A view holds exactly one set of the model's weights, and
 * nothing that says "quantized"; the files it replaces are hidden. Independent parts of a model pass, even weights:
 * 2_Dense/model.safetensors of sentence-transformers, spk_dict.pt, a whole speech-lora/ directory.
 */

enum companion {
	COMPANION_PASSES,
	COMPANION_WEIGHTS, /* safetensors at the top: shown unless they are another copy of the model's weights */
	COMPANION_HIDDEN,
};

/* Classifies by name a file that is neither among the model's weights nor their index. */
enum companion companion_of(const char *name);

#endif
