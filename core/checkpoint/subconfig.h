/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SUBCONFIG_H
#define GPTQFS_SUBCONFIG_H

/*
 * The quantization configurations inside config.json. A plain model has one at the top level; a model of several parts
 * may have it in the configuration of a part, and parts nest: thinker_config.text_config.quantization_config.
 */

#include "base/arena.h"
#include "base/json.h"

#define SUBCONFIGS_MAX 16

struct subconfig {
	const char *where; /* "config.json" or "config.json (thinker_config.text_config)" */
	const struct json *json;
};

struct subconfigs {
	struct subconfig list[SUBCONFIGS_MAX]; /* the top level's, then those of text models, then others */
	size_t count;
};

/*
 * Lists the objects named quantization_config at any depth of `config`, which may be NULL. Returns 0, -EBADMSG if there
 * are more than SUBCONFIGS_MAX, or -ENOMEM.
 */
int subconfig_list(const struct json *config, struct arena *arena, struct subconfigs *out, struct gptqfs_error *err);

#endif
