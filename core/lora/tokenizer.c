/* SPDX-License-Identifier: MIT */
#include "lora/tokenizer.h"

#include <errno.h>
#include <fnmatch.h>
#include <string.h>

#include "base/err.h"

bool tokenizer_has(const char *name)
{
	static const char *const patterns[] = {"tokenizer*.json", "tokenizer.model", "special_tokens_map.json",
	    "added_tokens.json", "chat_template.*", "vocab.*", "merges.txt"};

	for (size_t i = 0; i < sizeof(patterns) / sizeof(*patterns); i++)
		if (fnmatch(patterns[i], name, FNM_PATHNAME) == 0)
			return true;
	return false;
}

int tokenizer_open(struct tokenizer *t, const struct adapter *a, struct arena *arena, struct gptqfs_error *err)
{
	const struct listing *l = &a->listing;
	struct source_file *files;
	size_t count = 0;
	int rc = 0;

	for (size_t i = 0; i < l->count; i++)
		count += tokenizer_has(l->names[i]);
	if (!count)
		return 0;
	tokenizer_close(t);
	files = arena_alloc(arena, count, sizeof(*files));
	if (!files)
		return err_memory(err);
	*t = (struct tokenizer){.files = files, .of = a};
	for (size_t i = 0; rc == 0 && i < l->count; i++) {
		if (!tokenizer_has(l->names[i]))
			continue;
		rc = source_file_open(&a->dir, l->names[i], &files[t->count], err);
		t->count += rc == 0;
	}
	return adapter_code(rc);
}

void tokenizer_close(struct tokenizer *t)
{
	while (t->count)
		source_file_close(&t->files[--t->count]);
}
