/* SPDX-License-Identifier: MIT */

/* What a model is, and which view of it to use. */

#include <string.h>

#include "report/report.h"

static const struct {
	const char *view, *reason;
} recommended[DTYPE_VIEWS] = {
    [DTYPE_F16] = {"fp16", "most unquantized tensors are F16 and pass unchanged"},
    [DTYPE_BF16] = {"bf16", "most unquantized tensors are BF16 and pass unchanged; fp16 has a smaller range"},
    [DTYPE_F32] = {"fp32", "most unquantized tensors are F32 and pass unchanged; fp16 and bf16 are half the size"},
};

const char *report_view(const struct totals *t)
{
	return recommended[t->native].view;
}

static const char *architecture(const struct checkpoint *c)
{
	return json_str(json_at(json_get(c->config_json, "architectures"), 0));
}

/* The first line answers what this is. */
static void tell_summary(struct sheet *s, const struct report *r, const struct totals *t)
{
	const struct checkpoint *c = r->plan->c;
	struct text line = {0};

	if (architecture(c))
		text_printf(&line, "%s, ", architecture(c));
	for (size_t i = 0; i < t->formats_count; i++)
		text_printf(&line, "%s%s", i ? ", " : "", t->formats[i]);
	for (size_t i = 0; i < t->bits_count; i++)
		text_printf(&line, "%s%lld-bit", i ? ", " : " ", (long long)t->bits[i].value);
	text_printf(&line, ", %zu modules, ", r->plan->tensors->encoded_count);
	text_count(&line, t->parameters);
	text_printf(&line, " parameters, ");
	text_bytes(&line, t->source_bytes);
	text_printf(&line, " -> ");
	text_bytes(&line, t->dense_bytes[DTYPE_F16]);
	text_printf(&line, " as fp16");
	sheet_text(s, "Summary", &line);
}

static void tell_formats(struct sheet *s, const struct totals *t)
{
	struct text line = {0};

	for (size_t i = 0; i < t->formats_count; i++)
		text_printf(&line, "%s%s", i ? ", " : "", t->formats[i]);
	sheet_text(s, "Format", &line);
}

static void tell_model(struct sheet *s, const struct report *r, const struct totals *t)
{
	const struct checkpoint *c = r->plan->c;
	const struct tensors *ts = r->plan->tensors;

	sheet_string(s, "Source", c->dir.path, NULL);
	sheet_string(s, "Architecture", architecture(c), NULL);
	tell_formats(s, t);
	sheet_string(s, "Checkpoint_format", ts->labels.checkpoint_format, NULL);
	sheet_string(s, "Producer", ts->labels.producer, NULL);
	sheet_string(s, "Configuration", ts->labels.configuration, NULL);
	sheet_tally(s, "Bits", t->bits, t->bits_count);
	sheet_tally(s, "Group_size", t->group_sizes, t->group_sizes_count);
	/* Programs get this as the table of modules, which comes last. */
	if (!s->json)
		sheet_number(s, "Modules", ts->encoded_count, NULL);
	sheet_number(s, "Modules_symmetric", t->symmetric, NULL);
	sheet_number(s, "Modules_repaired", t->repaired, NULL);
	sheet_number(s, "Modules_act_order", t->act_order, NULL);
	sheet_number(s, "Tensors", ts->count, NULL);
	sheet_number(s, "Parameters", t->parameters, NULL);
}

/* The root has no config.json, so programs that are given its path find nothing. */
static void tell_usage(struct sheet *s, const struct totals *t)
{
	struct text line = {0};

	text_printf(&line, "programs want a view: give them MOUNTPOINT/%s, or mount with -o view=%s", report_view(t),
	    report_view(t));
	sheet_text(s, "Usage", &line);
}

/* Features that engines for packed weights have dropped or never had. */
static void tell_engines(struct sheet *s, const struct plan *p, const struct totals *t)
{
	const struct view *packed = view_find("packed");
	const char *reason;
	bool eight = false;

	if (!packed || !view_exists(p, packed, &reason))
		return;
	for (size_t i = 0; i < t->bits_count; i++)
		eight |= t->bits[i].value == 8;
	if (t->act_order)
		sheet_string(s, "Packed_act_order",
		    "engines such as vLLM no longer load act-order weights packed; the dense views suit them all",
		    NULL);
	if (eight)
		sheet_string(s, "Packed_8_bit",
		    "engines such as ExLlama do not load 8-bit weights packed; the dense views suit them all", NULL);
}

static void tell_views(struct sheet *s, const struct plan *p)
{
	const struct view *view;
	const char *reason;
	size_t shown = 0;

	sheet_key(s, "Views");
	text_string(s->out, s->json ? "[" : "");
	for (size_t i = 0; (view = view_at(i)); i++)
		if (view_exists(p, view, &reason))
			text_printf(s->out, s->json ? "%s\"%s\"" : "%s%s", shown++ ? (s->json ? ", " : " ") : "",
			    view->name);
	text_string(s->out, s->json ? "]" : "\n");
	sheet_string(s, "Fused_views", "joined weights; README in each says which programs can read it", NULL);
	for (size_t i = 0; (view = view_at(i)); i++)
		if (view->key && view_exists(p, view, &reason))
			sheet_string(s, view->key, view->told, NULL);
		else if (view->key)
			sheet_string(s, view->key, NULL, reason);
}

static void tell_warnings(struct sheet *s, const struct checkpoint *c)
{
	if (!s->json)
		sheet_number(s, "Warnings", c->warning_count, NULL);
	sheet_list_begin(s, "Warnings");
	for (size_t i = 0; i < c->warning_count; i++)
		sheet_list_string(s, "Warning", c->warnings[i]);
	sheet_list_end(s);
}

/* Files that are neither shown nor read. */
static void tell_hidden(struct sheet *s, const struct checkpoint *c)
{
	if (!s->json)
		sheet_number(s, "Hidden", c->hidden_count,
		    "files that are not in the views: other sets of the weights, a quantizer's files");
	sheet_list_begin(s, "Hidden");
	for (size_t i = 0; i < c->hidden_count; i++)
		sheet_list_string(s, "Hidden_file", c->hidden[i]);
	sheet_list_end(s);
}

/* Modules that the fused views, or only the packed one, do not join, and why. */
static void tell_apart(struct sheet *s, const struct join_refusals *refusals)
{
	struct text line = {0};

	if (!s->json)
		sheet_number(s, "Left_apart", refusals->count, "modules that fused or packed views do not join");
	sheet_list_begin(s, "Left_apart");
	for (size_t i = 0; i < refusals->count; i++) {
		const struct join_refusal *r = &refusals->list[i];

		sheet_list_next(s);
		if (s->json) {
			text_string(s->out, "{\"module\": ");
			text_json_ascii(s->out, r->module);
			text_printf(s->out, ", \"fused\": %s, \"reason\": ", r->packed ? "true" : "false");
			text_json_ascii(s->out, r->reason);
			text_string(s->out, "}");
			continue;
		}
		text_printf(&line, "%s, in %s: %s", r->module, r->packed ? "packed" : "fused and packed", r->reason);
		sheet_text(s, "Apart", &line);
	}
	sheet_list_end(s);
}

void report_model(const struct report *r, struct sheet *s)
{
	const struct checkpoint *c = r->plan->c;
	struct totals t;

	totals_of(r->plan->tensors, &t);
	tell_summary(s, r, &t);
	tell_usage(s, &t);
	tell_model(s, r, &t);
	sheet_number(s, "Shards", c->shard_count, NULL);
	sheet_number(s, "Source_bytes", t.source_bytes, NULL);
	sheet_number(s, "Dense_fp16_bytes", t.dense_bytes[DTYPE_F16], "bf16 too");
	sheet_number(s, "Dense_fp32_bytes", t.dense_bytes[DTYPE_F32], NULL);
	sheet_string(s, "Recommended_view", report_view(&t), NULL);
	sheet_string(s, "Recommended_reason", recommended[t.native].reason, NULL);
	report_adapters(r->plan->lora, s);
	report_variants(r->plan->variants, s);
	tell_views(s, r->plan);
	tell_engines(s, r->plan, &t);
	if (r->page_cache)
		sheet_string(s, "Page_cache", r->page_cache, NULL);
	sheet_string(s, "Checked", "headers, shapes, g_idx, first row of zeros", "all else: gptqfs --check");
	sheet_string(s, "Sandbox", r->sandbox, NULL);
	tell_warnings(s, c);
	tell_apart(s, r->refusals);
	tell_hidden(s, c);
}

void report_info(const struct report *r, bool json, struct text *out)
{
	struct sheet s;

	sheet_begin(&s, out, json);
	report_model(r, &s);
	if (json)
		report_modules_json(r->plan->tensors, &s);
	sheet_end(&s);
}

/* ---- README ---- */

void report_readme(const struct report *r, struct text *out)
{
	const struct view *view;
	const char *reason;
	struct totals t;

	totals_of(r->plan->tensors, &t);
	text_printf(out,
	    "This is a quantized model (%s), shown by gptqfs as ordinary model files. Every weight is computed when it is\n"
	    "read; nothing is stored.\n\nSource: ",
	    t.formats[0]);
	text_ascii(out, r->plan->c->dir.path);
	text_printf(out, "\n\n");
	for (size_t i = 0; (view = view_at(i)); i++)
		if (view_exists(r->plan, view, &reason))
			text_printf(out, "%-12s %s\n", view->name, view->about);
	if (r->plan->variants->count)
		text_printf(out, "%-12s %s\n", "lora", "the same views with one adapter merged: lora/NAME/fp16");
	text_printf(out,
	    "%-12s what the model is, which view fits it, and every warning\n"
	    "%-12s the same for programs, with the table of quantized modules\n"
	    "%-12s counters of this mount, as they are now (absent if EROFS shows the mount)\n"
	    "\n"
	    "Programs want a view, not this directory: give them MOUNTPOINT/%s, or mount with -o view=%s.\n"
	    "\n"
	    "  cat info status\n"
	    "  python3 -c 'from transformers import AutoModelForCausalLM as A; A.from_pretrained(\"%s\")'\n"
	    "  cp -r %s /somewhere/else      # an ordinary copy\n"
	    "\n"
	    "Unmount with: gptqfs -u MOUNTPOINT\n",
	    "info", "info.json", "status", report_view(&t), report_view(&t), report_view(&t), report_view(&t));
}
