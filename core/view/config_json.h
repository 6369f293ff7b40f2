/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CONFIG_H
#define GPTQFS_CONFIG_H

/* The model's config.json as a view shows it. */

#include "base/dtype.h"
#include "base/json.h"
#include "base/text.h"

/* A member of the top-level object that a view sets or adds; values are JSON. */
struct config_member {
	const char *key, *value;
	const char *old; /* replaced by `value` in configurations of parts, too; NULL: not there */
	bool text;       /* text_config gets it too: transformers 4 asks there first */
};

struct config_view {
	enum dtype dtype;                    /* of a dense view */
	struct json_text quantization;       /* of the packed view, which keeps dtype; at == NULL for dense views */
	bool bare;                           /* add nothing: diffusers refuses unknown members */
	const struct config_member *members; /* [count] */
	size_t count;                        /* at most 32 */
};

/*
 * Writes config.json as shown by the view. quantization_config is removed at any depth, or replaced by `quantization`,
 * which is added if there was none; compression_config is removed, and at the top level MLX's `quantization`. A dense
 * view's torch_dtype and dtype are set wherever present, and added at the top level. Members that transformers 5
 * renamed get both spellings: see spellings.h.
 *
 * Works by cutting and inserting text, so that all other bytes stay: strict readers distinguish 10000.0 from 10000.
 * `text` must be an object and have passed json_check. out->failed is set if out of memory.
 */
void config_rewrite(struct json_text text, const struct config_view *view, struct text *out);

#endif
