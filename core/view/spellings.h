/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SPELLINGS_H
#define GPTQFS_SPELLINGS_H

/*
 * Members of config.json that transformers 5 renamed. It reads the older spelling of most, but given only the newer
 * one, transformers 4 and many other programs silently use a default and compute something else; and vice versa.
 */

#include "base/json.h"
#include "base/text.h"

#define SPELLINGS_MAX 8

struct spelling {
	const char *key;
	struct text value; /* JSON */
};

/*
 * Finds the members to add to `object`, a configuration, so that it has both spellings. `custom`: the model comes with
 * its own classes, which may reject unexpected members. Returns their number; free them with spellings_free.
 */
size_t spellings_missing(struct json_text object, bool custom, struct spelling out[SPELLINGS_MAX]);
void spellings_free(struct spelling *list, size_t count);

#endif
