/* SPDX-License-Identifier: MIT */

/* The table of quantized modules. */

#include <inttypes.h>
#include <string.h>

#include "report/report.h"

/* The table has in_features first. */
static uint64_t in_features(const struct encoded *e)
{
	return e->shape[e->ndim - (e->transposed ? 2 : 1)];
}

static uint64_t out_features(const struct encoded *e)
{
	return e->shape[e->ndim - (e->transposed ? 1 : 2)];
}

static uint64_t elements_of(const struct encoded *e)
{
	uint64_t elements = 1;

	for (int i = 0; i < e->ndim; i++)
		elements *= e->shape[i];
	return elements;
}

/* ---- text ---- */

/* Facts with a column of their own; "-" if the encoding does not have them. */
static const struct {
	const char *key, *title;
	int width;
} columns[] = {
    {"bits", "bits", 4},
    {"group_size", "group", 6},
    {"act_order", "act", 5},
    {"symmetric", "sym", 4},
    {"zeros", "zeros", 6},
};

#define COLUMNS (sizeof(columns) / sizeof(*columns))

static const char *cell(const struct fact *fact, char buffer[FACT_TEXT_MAX])
{
	if (!fact)
		return "-";
	if (fact->kind == FACT_TRUTH)
		return fact->truth ? "yes" : "no";
	return *fact_text(fact, buffer) ? fact_text(fact, buffer) : "-";
}

/* The width of the column of formats: GPTQ alone needs 5. */
static int form_width(const struct tensors *ts)
{
	size_t width = 5;

	for (size_t i = 0; i < ts->encoded_count; i++) {
		const size_t len = strlen(ts->encoded[i]->encoding->name);

		width = len > width ? len : width;
	}
	return (int)width;
}

static void put_line(const struct encoded *e, int form, struct text *out)
{
	const size_t before = out->len;
	char buffer[FACT_TEXT_MAX];
	struct facts facts = {0};

	e->encoding->describe(e, &facts);
	text_ascii(out, e->module);
	text_printf(out, "%*s %-*s", out->len - before < 48 ? 48 - (int)(out->len - before) : 0, "", form,
	    e->encoding->name);
	for (size_t i = 0; i < COLUMNS; i++)
		text_printf(out, " %*s", columns[i].width, cell(facts_find(&facts, columns[i].key), buffer));
	text_printf(out, " %7" PRIu64 " %7" PRIu64 " %12" PRIu64 " %12" PRIu64 "\n", in_features(e), out_features(e),
	    e->stored_bytes, elements_of(e) * 2);
}

void report_modules_text(const struct tensors *ts, struct text *out)
{
	const int form = form_width(ts);

	text_printf(out, "%-48s %-*s", "module", form, "form");
	for (size_t i = 0; i < COLUMNS; i++)
		text_printf(out, " %*s", columns[i].width, columns[i].title);
	text_printf(out, " %7s %7s %12s %12s\n", "in", "out", "packed", "fp16");
	for (size_t i = 0; i < ts->encoded_count; i++)
		put_line(ts->encoded[i], form, out);
	text_printf(out, "\n");
}

/* ---- JSON ---- */

static void module_put_value(const struct fact *fact, struct text *out)
{
	char buffer[FACT_TEXT_MAX];

	if (fact->kind != FACT_WORD)
		text_string(out, fact_text(fact, buffer));
	else if (fact->word)
		text_json_ascii(out, fact->word);
	else
		text_string(out, "null");
}

static void put_object(const struct encoded *e, struct text *out)
{
	struct facts facts = {0};

	e->encoding->describe(e, &facts);
	text_string(out, "{\"name\": ");
	text_json_ascii(out, e->module);
	text_string(out, ", \"format\": ");
	text_json_ascii(out, e->encoding->name);
	for (size_t i = 0; i < facts.count; i++) {
		text_printf(out, ", \"%s\": ", facts.list[i].key);
		module_put_value(&facts.list[i], out);
	}
	text_printf(out,
	    ", \"in_features\": %" PRIu64 ", \"out_features\": %" PRIu64 ", \"packed_bytes\": %" PRIu64
	    ", \"fp16_bytes\": %" PRIu64 ", \"shards\": [",
	    in_features(e), out_features(e), e->stored_bytes, elements_of(e) * 2);
	for (int i = 0; i < e->file_count; i++) {
		text_string(out, i ? ", " : "");
		text_json_ascii(out, e->files[i]->name);
	}
	text_string(out, "]}");
}

void report_modules_json(const struct tensors *ts, struct sheet *s)
{
	sheet_list_begin(s, "Modules");
	for (size_t i = 0; i < ts->encoded_count; i++) {
		sheet_list_next(s);
		put_object(ts->encoded[i], s->out);
	}
	sheet_list_end(s);
}
