/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TEXT_H
#define GPTQFS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

/*
 * A growing text. A zeroed struct is empty. If memory runs out, the text stays as it is, `failed` is set and further
 * writes do nothing, so that only the last step needs to check.
 */
struct text {
	char *data; /* not terminated */
	size_t len, room;
	bool failed;
};

void text_put(struct text *t, const char *bytes, size_t len);
__attribute__((format(printf, 2, 3))) void text_printf(struct text *t, const char *fmt, ...);

/* As %s and %llu, but many times faster: headers of large models have a million of them. */
void text_string(struct text *t, const char *s);
void text_number(struct text *t, uint64_t n);

/* Appends a JSON string, quoted. C0 80 is NUL (see json_string), written as \u0000. */
void text_json_string(struct text *t, const char *s);

/* The same in ASCII. Bytes that are not UTF-8 (file names may have any) become \udc80 to \udcff, as in Python. */
void text_json_ascii(struct text *t, const char *s);

/* Appends printable ASCII; other bytes and the backslash become \ooo, as in /proc/self/mountinfo. */
void text_ascii(struct text *t, const char *s);

/*
 * Makes a line safe for terminals and logs, in place: control characters (C0, DEL, C1), bidirectional marks, line
 * separators and bytes that are not UTF-8 become '?'. All text output of the program goes through this, or is made
 * ASCII by one of the functions above.
 */
void text_disarm(char *line);

/* Three digits and a decimal unit: 269062784 is "269 MB" as bytes, 134515008 is "135M" as a count of parameters. */
void text_bytes(struct text *t, uint64_t bytes);
void text_count(struct text *t, uint64_t count);

/* Appends bytes as lower-case hexadecimal digits. */
void text_hex(struct text *t, const unsigned char *bytes, size_t len);

void text_free(struct text *t);

/* Returns a copy of the text with a NUL at its end; NULL if the text has failed or memory runs out. */
char *text_keep(const struct text *t, struct arena *arena);

#endif
