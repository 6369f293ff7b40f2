/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LORA_TOKENIZER_H
#define GPTQFS_LORA_TOKENIZER_H

/*
 * The tokenizer files beside an adapter. Training may have added tokens or changed the chat template, so these, if any,
 * replace all of the model's: files of both together would not be a tokenizer.
 */

#include "lora/adapter.h"

struct tokenizer {
	struct source_file *files; /* [count] by name; none: the model's are kept */
	size_t count;
	const struct adapter *of;
};

/* True if the file of this name, at the top of a model, is part of its tokenizer. */
bool tokenizer_has(const char *name);

/* Opens the tokenizer of an adapter, if it has one, and closes the previous one. Codes as adapter_open. */
int tokenizer_open(struct tokenizer *t, const struct adapter *a, struct arena *arena, struct gptqfs_error *err);
void tokenizer_close(struct tokenizer *t);

#endif
