/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_UNESCAPE_H
#define GPTQFS_UNESCAPE_H

/* The inverse of escape_path, written from its rules. */

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "view/escape.h"

static inline int unescape_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/*
 * Appends the part to `name`. Returns false if escape_path makes no such part. If *cut is set, the part was cut, and
 * only its beginning is known.
 */
static inline bool unescape_part(const char *part, size_t len, struct text *name, bool *cut)
{
	size_t end = len;

	*cut = len > ESCAPE_PART_MAX;
	if (*cut) {
		end = len - 33;
		if (part[end] != '%')
			return false;
		for (size_t i = end + 1; i < len; i++)
			if (!memchr("0123456789abcdef", part[i], 16))
				return false;
	}
	if (len == 1 && *part == '%')
		return true;
	for (size_t i = 0; i < end; i++) {
		const int high = i + 2 < end ? unescape_digit(part[i + 1]) : -1;
		const int low = i + 2 < end ? unescape_digit(part[i + 2]) : -1;
		const char c = (char)(high * 16 + low);

		if (part[i] != '%') {
			text_put(name, part + i, 1);
			continue;
		}
		if (high < 0 || low < 0)
			return false;
		text_put(name, c ? &c : "\xc0\x80", c ? 1 : 2);
		i += 2;
	}
	return len > 0;
}

/* Decodes a path; returns false if it is not a valid one. */
static inline bool unescape_path(const char *path, size_t len, struct text *name, bool *cut)
{
	bool good = true;

	*cut = false;
	for (size_t at = 0, n; good && at <= len; at += n + 1) {
		const char *slash = memchr(path + at, '/', len - at);
		bool part_cut;

		n = slash ? (size_t)(slash - path) - at : len - at;
		if (at)
			text_put(name, ".", 1);
		good = unescape_part(path + at, n, name, &part_cut);
		*cut |= part_cut;
	}
	return good;
}

#endif
