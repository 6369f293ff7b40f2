/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TEXT_H
#define GPTQFS_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

/* As %s and %llu, many times faster: headers of large models have a million of them. */
void text_string(struct text *t, const char *s);
void text_number(struct text *t, uint64_t n);

/* A JSON string, quoted. C0 80 is NUL (see json_string) and is written as \u0000. */
void text_json_string(struct text *t, const char *s);

/* The same in ASCII. A byte that is no UTF-8 (a file's name may have any) is \udc80 to \udcff, as Python writes it. */
void text_json_ascii(struct text *t, const char *s);

/* In printable ASCII; every other byte, and the backslash, as \ooo, as in /proc/self/mountinfo. */
void text_ascii(struct text *t, const char *s);

/*
 * Makes a line safe for a terminal and a log, in place: what is no printable character becomes '?'. That is control
 * characters of every kind (C0, DEL, C1), what turns the direction of text around, separators of lines, and bytes that
 * are no UTF-8. Everything that leaves the program as text goes through this, or is ASCII by one of the above.
 */
void text_disarm(char *line);

/* Three digits and a unit, decimal: 269062784 is "269 MB" as bytes, 134515008 "135M" as a number of parameters. */
void text_bytes(struct text *t, uint64_t bytes);
void text_count(struct text *t, uint64_t count);

/* Bytes as lower-case hexadecimal digits. */
void text_hex(struct text *t, const unsigned char *bytes, size_t len);

void text_free(struct text *t);

#endif
