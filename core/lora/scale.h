/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_SCALE_H
#define GPTQFS_LORA_SCALE_H

/* The factor s of a module, as an adapter's configuration tells it. */

#include "base/arena.h"
#include "base/json.h"

struct lora_scale {
	const char *file; /* of the configuration, for messages */
	double alpha;
	bool rslora;
	bool whole;       /* alpha is s itself, as mlx-lm has it */
	double requested; /* by the user, times what the adapter says */
	const struct json *pattern;
	struct patterns *patterns;
	const struct pattern **compiled; /* of alpha_pattern's members */
};

/*
 * Reads the configuration; `file`, `whole` and `requested` must be set. Returns 0; -EBADMSG for what is no number or no
 * pattern; -ENOMEM.
 */
int lora_scale_read(struct lora_scale *s, const struct json *config, struct arena *arena, struct gptqfs_error *err);

/* s of a module, by its name as the adapter spells it. Codes as above. */
int lora_scale_of(const struct lora_scale *s, const char *module, uint32_t rank, double *out, struct gptqfs_error *err);

#endif
