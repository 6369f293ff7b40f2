/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SHEET_H
#define GPTQFS_SHEET_H

/*
 * What is told of a model, once for people and once for programs: "Key: value" lines, or a JSON object with the same
 * keys in lower case. The caller does not know which. All is ASCII. Keys are at most 18 characters, so that
 * values line up in one column; a note in parentheses is for people alone.
 */

#include <stdint.h>

#include "base/text.h"

struct sheet {
	struct text *out;
	bool json;
	bool more; /* something was told already */
};

/* How many there are of each value. */
struct tally {
	int64_t value;
	uint64_t count;
};

void sheet_begin(struct sheet *s, struct text *out, bool json);
void sheet_end(struct sheet *s);

/* `note` may be NULL. A string that is NULL or empty is "-", or null. */
void sheet_string(struct sheet *s, const char *key, const char *value, const char *note);
void sheet_number(struct sheet *s, const char *key, uint64_t value, const char *note);

/* A value that was put together. Frees it; where memory was short, the whole sheet fails. */
void sheet_text(struct sheet *s, const char *key, struct text *value);

/* "4 (210 modules), 8 (2 modules)", or {"4": 210, "8": 2}. */
void sheet_tally(struct sheet *s, const char *key, const struct tally *tally, size_t count);

/* The key, for a value that the caller writes to s->out. */
void sheet_key(struct sheet *s, const char *key);

#endif
