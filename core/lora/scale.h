/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_SCALE_H
#define GPTQFS_LORA_SCALE_H

/* The factor s of each module, from an adapter's configuration. */

#include "base/arena.h"
#include "base/json.h"

struct lora_scale {
	const char *file; /* of the configuration, for messages */
	double alpha;
	bool rslora;
	bool whole;       /* alpha is s itself, as mlx-lm has it */
	double requested; /* by the user; multiplies the adapter's factor */
	const struct json *pattern;
	struct patterns *patterns;
	const struct pattern **compiled; /* of alpha_pattern's members */
};

/*
 * Reads the configuration; `file`, `whole` and `requested` must be set. Returns 0; -EBADMSG for what is not a number or
 * pattern; -ENOMEM.
 */
int lora_scale_read(struct lora_scale *s, const struct json *config, struct arena *arena, struct gptqfs_error *err);

/* Finds s of a module, by its name as the adapter spells it. Codes as above. */
int lora_scale_of(const struct lora_scale *s, const char *module, uint32_t rank, double *out, struct gptqfs_error *err);

#endif
