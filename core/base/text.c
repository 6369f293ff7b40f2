/* SPDX-License-Identifier: MIT */
#include "base/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"

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

void text_string(struct text *t, const char *s)
{
	text_put(t, s, strlen(s));
}

void text_number(struct text *t, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	text_put(t, digits + at, sizeof(digits) - at);
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

/* Takes one character off the text. A byte that is not UTF-8 counts as one, 0xdc00 plus its value. */
static uint32_t next_character(const unsigned char **at)
{
	static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
	const unsigned char *s = *at;
	const int more = *s < 0xc0 ? 0 : *s < 0xe0 ? 1 : *s < 0xf0 ? 2 : *s < 0xf8 ? 3 : 0;
	uint32_t c = more ? *s & (0x3fu >> more) : *s;
	int i = 1;

	while (i <= more && (s[i] & 0xc0) == 0x80)
		c = c << 6 | (s[i++] & 0x3f);
	*at = s + 1;
	if (*s < 0x80)
		return *s;
	if (s[0] == 0xc0 && s[1] == 0x80)
		c = 0;
	else if (!more || i <= more || c < least[more] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0xdc00 + *s;
	*at = s + 1 + more;
	return c;
}

void text_json_ascii(struct text *t, const char *s)
{
	const unsigned char *at = (const unsigned char *)s;

	text_put(t, "\"", 1);
	while (*at) {
		uint32_t c = next_character(&at);

		if (c == '"' || c == '\\')
			text_printf(t, "\\%c", c);
		else if (c >= 0x20 && c < 0x7f)
			text_put(t, (const char[]){(char)c}, 1);
		else if (c < 0x10000)
			text_printf(t, "\\u%04x", c);
		else
			text_printf(t, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10), 0xdc00 + (c & 0x3ff));
	}
	text_put(t, "\"", 1);
}

void text_ascii(struct text *t, const char *s)
{
	while (*s) {
		size_t plain = 0;

		while (s[plain] >= 0x20 && s[plain] < 0x7f && s[plain] != '\\')
			plain++;
		text_put(t, s, plain);
		s += plain;
		if (*s)
			text_printf(t, "\\%03o", (unsigned char)*s++);
	}
}

/* True for control characters, invalid bytes, and characters that are invisible or change how others are shown. */
static bool is_armed(uint32_t c)
{
	static const uint32_t ranges[][2] = {{0, 0x1f}, {0x7f, 0x9f}, {0xad, 0xad}, {0x61c, 0x61c}, {0x180e, 0x180e},
	    {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f}, {0xdc80, 0xdcff}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb},
	    {0xe0000, 0xe007f}};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(*ranges); i++)
		if (c >= ranges[i][0] && c <= ranges[i][1])
			return true;
	return false;
}

void text_disarm(char *line)
{
	const unsigned char *from = (const unsigned char *)line;
	char *to = line;

	while (*from) {
		const unsigned char *start = from;

		if (is_armed(next_character(&from))) {
			*to++ = '?';
		} else {
			memmove(to, start, (size_t)(from - start));
			to += from - start;
		}
	}
	*to = 0;
}

/* Returns the power of 1000 that leaves at most three digits before the point. */
static double scale(uint64_t n, size_t *power)
{
	double scaled = (double)n;

	for (*power = 0; scaled >= 999.5; ++*power)
		scaled /= 1000;
	return scaled;
}

void text_bytes(struct text *t, uint64_t bytes)
{
	static const char *const units[] = {"bytes", "kB", "MB", "GB", "TB", "PB", "EB"};
	size_t power;
	const double scaled = scale(bytes, &power);

	text_printf(t, "%.3g %s", scaled, units[power]);
}

void text_count(struct text *t, uint64_t count)
{
	static const char *const units[] = {"", "K", "M", "B", "T", "Q", "Qi"};
	size_t power;
	const double scaled = scale(count, &power);

	text_printf(t, "%.3g%s", scaled, units[power]);
}

void text_hex(struct text *t, const unsigned char *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		text_printf(t, "%02x", bytes[i]);
}

void text_free(struct text *t)
{
	free(t->data);
	*t = (struct text){0};
}

char *text_keep(const struct text *t, struct arena *arena)
{
	return t->failed ? NULL : arena_strndup(arena, t->len ? t->data : "", t->len);
}
