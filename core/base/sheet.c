/* SPDX-License-Identifier: MIT */
#include "base/sheet.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#define KEY_WIDTH 19 /* and a colon */

void sheet_begin(struct sheet *s, struct text *out, bool json)
{
	*s = (struct sheet){.out = out, .json = json};
	if (json)
		text_printf(out, "{\n");
}

void sheet_end(struct sheet *s)
{
	if (s->json)
		text_printf(s->out, "\n}\n");
}

void sheet_key(struct sheet *s, const char *key)
{
	static const char blanks[] = "                   ";
	const size_t len = strlen(key);

	if (s->json) {
		text_printf(s->out, "%s  \"%c%s\": ", s->more ? ",\n" : "", tolower(*key), key + 1);
	} else {
		text_put(s->out, key, len);
		text_put(s->out, ":", 1);
		text_put(s->out, blanks, len < KEY_WIDTH ? KEY_WIDTH - len : 1);
	}
	s->more = true;
}

static void end_line(struct sheet *s, const char *note)
{
	if (!s->json && note)
		text_printf(s->out, " (%s)", note);
	if (!s->json)
		text_put(s->out, "\n", 1);
}

void sheet_string(struct sheet *s, const char *key, const char *value, const char *note)
{
	const bool there = value && *value;

	sheet_key(s, key);
	if (!there)
		text_printf(s->out, s->json ? "null" : "-");
	else
		(s->json ? text_json_ascii : text_ascii)(s->out, value);
	end_line(s, note);
}

void sheet_text(struct sheet *s, const char *key, struct text *value)
{
	text_put(value, "", 1);
	s->out->failed |= value->failed;
	sheet_string(s, key, value->failed ? NULL : value->data, NULL);
	text_free(value);
}

void sheet_number(struct sheet *s, const char *key, uint64_t value, const char *note)
{
	sheet_key(s, key);
	text_number(s->out, value);
	end_line(s, note);
}

void sheet_tally(struct sheet *s, const char *key, const struct tally *tally, size_t count)
{
	sheet_key(s, key);
	if (s->json)
		text_printf(s->out, "{");
	for (size_t i = 0; i < count; i++)
		text_printf(s->out, s->json ? "%s\"%" PRId64 "\": %" PRIu64 : "%s%" PRId64 " (%" PRIu64 " modules)",
		    i ? ", " : "", tally[i].value, tally[i].count);
	if (s->json || !count)
		text_printf(s->out, s->json ? "}" : "-");
	end_line(s, NULL);
}

void sheet_list_begin(struct sheet *s, const char *key)
{
	if (!s->json)
		return;
	sheet_key(s, key);
	text_string(s->out, "[");
	s->listed = false;
}

void sheet_list_next(struct sheet *s)
{
	if (s->json)
		text_string(s->out, s->listed ? ",\n    " : "\n    ");
	s->listed = true;
}

void sheet_list_string(struct sheet *s, const char *line_key, const char *value)
{
	sheet_list_next(s);
	if (s->json)
		text_json_ascii(s->out, value);
	else
		sheet_string(s, line_key, value, NULL);
}

void sheet_list_end(struct sheet *s)
{
	if (s->json)
		text_string(s->out, s->listed ? "\n  ]" : "]");
}
