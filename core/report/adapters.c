/* SPDX-License-Identifier: MIT */

/* The adapters merged into the model. */

#include <stdio.h>

#include "report/report.h"

static const char *base_name(const struct adapter *a)
{
	return json_str(json_get(a->config, a->mlx ? "model" : "base_model_name_or_path"));
}

/* Not affected by a scale. */
static const char *scale_note(const struct adapter *a)
{
	return a->scale.requested != 1 && (a->replaced || a->given_rows)
	           ? "tensors and rows that the adapter replaces are not scaled"
	           : NULL;
}

static void adapters_tell_lines(struct sheet *s, const struct adapter *a)
{
	char scale[32], rank[48];

	snprintf(scale, sizeof(scale), "%.17g", a->scale.requested);
	snprintf(rank, sizeof(rank), a->rank_least == a->rank_most ? "rank %u" : "rank %u to %u", a->rank_least,
	    a->rank_most);
	sheet_string(s, "Adapter", a->dir.path, a->mlx ? "mlx-lm" : "PEFT");
	sheet_string(s, "Adapter_base", base_name(a), "as the adapter names it");
	sheet_string(s, "Adapter_scale", scale, scale_note(a));
	sheet_number(s, "Adapter_modules", a->modules, a->modules ? rank : NULL);
	if (a->replaced)
		sheet_number(s, "Adapter_replaced", a->replaced, "tensors that are the adapter's own");
	if (a->given_rows)
		sheet_number(s, "Adapter_rows", a->given_rows, "rows of embeddings that are the adapter's own");
	if (a->renamed)
		sheet_string(s, "Adapter_renamed", a->renamed, NULL);
}

static void adapters_put_object(const struct adapter *a, struct text *out)
{
	text_string(out, "{\"path\": ");
	text_json_ascii(out, a->dir.path);
	text_printf(out, ", \"format\": \"%s\", \"base\": ", a->mlx ? "mlx-lm" : "PEFT");
	if (base_name(a))
		text_json_ascii(out, base_name(a));
	else
		text_string(out, "null");
	text_printf(out,
	    ", \"scale\": %.17g, \"modules\": %zu, \"rank_least\": %u, \"rank_most\": %u, \"replaced\": %zu, \"rows\": %zu, "
	    "\"renamed\": ",
	    a->scale.requested, a->modules, a->rank_least, a->rank_most, a->replaced, a->given_rows);
	if (a->renamed)
		text_json_ascii(out, a->renamed);
	else
		text_string(out, "null");
	text_string(out, "}");
}

static void adapters_tell_variant(struct sheet *s, const struct variant *v)
{
	char key[64];

	if (!s->json) {
		snprintf(key, sizeof(key), "lora/%.50s", v->name);
		sheet_string(s, "Variant", key, v->refusal ? v->refusal : "with that adapter merged");
		return;
	}
	sheet_list_next(s);
	text_string(s->out, "{\"name\": ");
	text_json_ascii(s->out, v->name);
	text_string(s->out, ", \"refusal\": ");
	if (v->refusal)
		text_json_ascii(s->out, v->refusal);
	else
		text_string(s->out, "null");
	text_string(s->out, "}");
}

void report_variants(const struct variants *variants, struct sheet *s)
{
	if (!variants->count)
		return;
	sheet_list_begin(s, "Variants");
	for (size_t i = 0; i < variants->count; i++)
		adapters_tell_variant(s, &variants->list[i]);
	sheet_list_end(s);
}

void report_adapters(const struct lora *lora, struct sheet *s)
{
	if (!lora)
		return;
	sheet_list_begin(s, "Adapters");
	for (size_t i = 0; i < lora->count; i++) {
		sheet_list_next(s);
		if (s->json)
			adapters_put_object(&lora->adapters[i], s->out);
		else
			adapters_tell_lines(s, &lora->adapters[i]);
	}
	sheet_list_end(s);
	sheet_string(s, "Tokenizer", lora->tokenizer.count ? lora->tokenizer.of->dir.path : NULL,
	    lora->tokenizer.count ? NULL : "the model's own");
	if (lora->untied)
		sheet_string(s, "Untied", "embedding and head are two tensors, because the adapter changed one of them",
		    NULL);
}
