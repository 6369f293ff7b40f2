/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CONFIG_H
#define GPTQFS_CONFIG_H

/* The model's own config.json. */

#include "base/dtype.h"
#include "base/json.h"
#include "base/text.h"

/*
 * Writes config.json as a dense view of the given type shows it: without quantization_config and compression_config
 * (in text_config neither), torch_dtype and dtype set, those inside *_config objects too where they stand. It is done
 * by cutting and inserting text, so that every other byte stays: strict readers tell 10000.0 from 10000. `text` must
 * have passed json_check and be an object. *out->failed tells of lack of memory.
 */
void config_rewrite(struct json_text text, enum dtype dtype, struct text *out);

/*
 * Writes config.json as the packed view shows it: `quantization` in the place of quantization_config (in text_config
 * too), or added if there is none; compression_config, which would say otherwise, is cut. Every other byte stays.
 */
void config_rewrite_packed(struct json_text text, struct json_text quantization, struct text *out);

#endif
