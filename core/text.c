/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void text_put(struct text *t, const char *bytes, size_t len)
{
	if (t->failed)
		return;
	if (t->room - t->len < len) {
		size_t room = (t->len + len) * 2 + 64;
		char *data = realloc(t->data, room);

		if (!data) {
			t->failed = true;
			return;
		}
		t->data = data;
		t->room = room;
	}
	if (len)
		memcpy(t->data + t->len, bytes, len);
	t->len += len;
}

void text_printf(struct text *t, const char *fmt, ...)
{
	char small[256], *large = NULL;
	va_list args, again;
	int len;

	va_start(args, fmt);
	va_copy(again, args);
	len = vsnprintf(small, sizeof(small), fmt, args);
	if (len >= (int)sizeof(small))
		len = vasprintf(&large, fmt, again);
	va_end(again);
	va_end(args);
	if (len < 0)
		t->failed = true;
	else
		text_put(t, large ? large : small, (size_t)len);
	free(large);
}

void text_json_string(struct text *t, const char *s)
{
	text_put(t, "\"", 1);
	while (*s) {
		size_t plain = 0;
		unsigned char c;

		while ((c = (unsigned char)s[plain]) >= 0x20 && c != '"' && c != '\\' && c != 0xc0)
			plain++;
		text_put(t, s, plain);
		s += plain;
		if (c == '"' || c == '\\')
			text_printf(t, "\\%c", c);
		else if (c == 0xc0)
			text_put(t, "\\u0000", 6);
		else if (c)
			text_printf(t, "\\u%04x", c);
		s += c == 0xc0 && s[1] ? 2 : c != 0;
	}
	text_put(t, "\"", 1);
}

void text_free(struct text *t)
{
	free(t->data);
	*t = (struct text){0};
}
