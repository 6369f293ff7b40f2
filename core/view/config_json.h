/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CONFIG_H
#define GPTQFS_CONFIG_H

/* The model's own config.json, as a view shows it. */

#include "base/dtype.h"
#include "base/json.h"
#include "base/text.h"

/* A member of the outermost object that a view has of its own; the value is JSON. */
struct config_member {
	const char *key, *value;
};

struct config_view {
	enum dtype dtype;                    /* of a dense view */
	struct json_text quantization;       /* of the packed view, which keeps the types; at == NULL for a dense one */
	bool bare;                           /* nothing is added: diffusers refuses members that it does not know */
	const struct config_member *members; /* [count] */
	size_t count;                        /* at most 32 */
};

/*
 * Writes config.json as the view shows it. At any depth quantization_config is cut (or replaced by `quantization`,
 * which is added if there was none), and so is compression_config. A dense view's torch_dtype and dtype are set, and
 * added to the outermost object. What transformers 5 renamed is there in both spellings: see spellings.h.
 *
 * It is done by cutting and inserting text, so that every other byte stays: strict readers tell 10000.0 from 10000.
 * `text` must have passed json_check and be an object. *out->failed tells of lack of memory.
 */
void config_rewrite(struct json_text text, const struct config_view *view, struct text *out);

#endif
