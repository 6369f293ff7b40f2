/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SPELLINGS_H
#define GPTQFS_SPELLINGS_H

/*
 * Members of config.json that transformers 5 renamed. It reads the older spelling of most, but transformers 4 and many
 * other readers take a default, and another text comes out, where only the newer one is given; and the other way round.
 */

#include "base/json.h"
#include "base/text.h"

#define SPELLINGS_MAX 8

struct spelling {
	const char *key;
	struct text value; /* JSON */
};

/*
 * The members that say in the other spelling what `object`, a configuration, says in one. `custom` if the model brings
 * its own classes, which may take a member they do not expect amiss. Returns how many; free them with spellings_free.
 */
size_t spellings_missing(struct json_text object, bool custom, struct spelling out[SPELLINGS_MAX]);
void spellings_free(struct spelling *list, size_t count);

#endif
