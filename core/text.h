/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TEXT_H
#define GPTQFS_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/*
 * A growing text. A zeroed struct is empty. A text that could not grow stays as it was and is marked failed; the
 * writers then do nothing, so that only the last step needs to look.
 */
struct text {
	char *data; /* not terminated */
	size_t len, room;
	bool failed;
};

void text_put(struct text *t, const char *bytes, size_t len);
__attribute__((format(printf, 2, 3))) void text_printf(struct text *t, const char *fmt, ...);

/* A JSON string, quoted. C0 80 stands for NUL (see json_string) and is written as \u0000. */
void text_json_string(struct text *t, const char *s);

void text_free(struct text *t);

#endif
