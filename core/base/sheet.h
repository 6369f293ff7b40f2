/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SHEET_H
#define GPTQFS_SHEET_H

/*
 * A report about a model for people or for programs: "Key: value" lines, or a JSON object with the same keys in lower
 * case. The caller need not know which. ASCII only. Keys have at most 18 characters, so that values line up; notes in
 * parentheses are left out of JSON.
 */

#include <stdint.h>

#include "base/text.h"

struct sheet {
	struct text *out;
	bool json;
	bool more;   /* something was written */
	bool listed; /* likewise, in the current list */
};

/* The number of occurrences of each value. */
struct tally {
	int64_t value;
	uint64_t count;
};

void sheet_begin(struct sheet *s, struct text *out, bool json);
void sheet_end(struct sheet *s);

/* `note` may be NULL. A string that is NULL or empty is written as "-", or null in JSON. */
void sheet_string(struct sheet *s, const char *key, const char *value, const char *note);
void sheet_number(struct sheet *s, const char *key, uint64_t value, const char *note);

/* Writes an assembled value and frees it. If the value ran out of memory, the whole sheet fails. */
void sheet_text(struct sheet *s, const char *key, struct text *value);

/* "4 (210 modules), 8 (2 modules)", or {"4": 210, "8": 2}. */
void sheet_tally(struct sheet *s, const char *key, const struct tally *tally, size_t count);

/*
 * A list: a line for each element, with a key of its own, or one array. Call sheet_list_next before an element that is
 * not a string. It, begin and end write nothing in lines.
 */
void sheet_list_begin(struct sheet *s, const char *key);
void sheet_list_next(struct sheet *s);
void sheet_list_string(struct sheet *s, const char *line_key, const char *value);
void sheet_list_end(struct sheet *s);

/* Writes only the key; the caller writes the value to s->out. */
void sheet_key(struct sheet *s, const char *key);

#endif
