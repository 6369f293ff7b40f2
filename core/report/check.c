/* SPDX-License-Identifier: MIT */

/* --check: findings that require reading everything. */

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/half.h"
#include "file/guard.h"
#include "kernel/element.h"
#include "report/report.h"

typedef unsigned long long ull;

/* ---- reading everything ---- */

static const struct finding overflow = {
    .key = "Fp16_overflow", .note = "stored values that become inf in the fp16 view"};
static const struct finding vanish = {.key = "Fp16_vanish", .note = "stored values that become 0 in the fp16 view"};

/* True for an unquantized tensor of a type with a wider range than fp16. */
struct stored_examination {
	const unsigned char *data;
	const struct st_tensor *stored;
	struct findings *out;
};

static void examine_stored(void *ctx)
{
	const struct stored_examination *e = ctx;
	const uint64_t count = e->stored->bytes / dtype_bytes(e->stored->dtype);
	uint64_t infinite = 0, zero = 0;

	for (uint64_t i = 0; i < count; i++) {
		const float value = element_load(e->data, i, e->stored->dtype);
		const uint16_t half = half_of_float(value) & 0x7fff;

		infinite += isfinite(value) && half == 0x7c00;
		zero += value != 0 && half == 0;
	}
	findings_add(e->out, &overflow, infinite);
	findings_add(e->out, &vanish, zero);
}

/* Plans what is planned on first lookup. */
static int settle_views(const struct plan *p, struct gptqfs_error *err)
{
	const struct view *view;
	int rc = 0;

	for (size_t i = 0; rc == 0 && (view = view_at(i)); i++)
		rc = late_run(view_state(p, view)->late);
	return rc == -ENOMEM ? err_memory(err)
	       : rc          ? err_set(err, -EIO, "%s: a view cannot be planned: %s", p->c->dir.path, strerror(-rc))
	                     : 0;
}

int report_examine(const struct report *r, struct findings *out, struct gptqfs_error *err)
{
	const struct tensors *ts = r->plan->tensors;
	const struct checkpoint *c = r->plan->c;
	int rc;

	*out = (struct findings){0};
	for (size_t i = 0; i < ts->encoded_count; i++)
		if (encoded_examine(ts->encoded[i], out))
			return err_set(err, -EIO, "%s: module %.200s cannot be read", ts->encoded[i]->files[0]->name,
			    ts->encoded[i]->module);
	findings_add(out, &overflow, 0);
	findings_add(out, &vanish, 0);
	for (size_t i = 0; i < ts->count; i++) {
		const enum dtype dtype = tensor_stored_dtype(&ts->list[i]);
		struct stored_examination e = {.out = out};

		if (dtype != DTYPE_BF16 && dtype != DTYPE_F32)
			continue;
		e.stored = ts->list[i].stored;
		e.data = checkpoint_data(c, e.stored);
		if (source_guard(examine_stored, &e))
			return err_set(err, -EIO, "%s: tensor %.200s cannot be read",
			    checkpoint_file(c, e.stored)->name, e.stored->name);
	}
	rc = report_examine_merged(r->plan, out, err);
	return rc ? rc : settle_views(r->plan, err);
}

/* ---- telling ---- */

static void tell_findings(struct sheet *s, const struct findings *f)
{
	for (size_t i = 0; i < f->count; i++)
		sheet_number(s, f->list[i].key, f->list[i].count, f->list[i].note);
}

static void tell_blobs(struct sheet *s, const struct blobs *b)
{
	char line[160];

	if (!b)
		return;
	if (b->checked)
		snprintf(line, sizeof(line), "%zu of %zu match their names%s", b->checked - b->damaged, b->checked,
		    b->damaged ? "; DAMAGED" : "");
	sheet_string(s, "Blobs", b->checked ? line : "none: not an entry of the Hugging Face cache", NULL);
	if (b->first)
		sheet_string(s, "Damaged_blob", b->first, NULL);
}

/* What planning a view late has found: types of its tensors, and what is not exact. */
static void tell_late(struct sheet *s, const struct view *view, const struct late *late)
{
	const char *line = late->remarks, *end;
	char types[20], inexact[20];

	snprintf(types, sizeof(types), "%c%.8s_types", view->name[0] - 'a' + 'A', view->name + 1);
	snprintf(inexact, sizeof(inexact), "%c%.8s_inexact", view->name[0] - 'a' + 'A', view->name + 1);
	sheet_string(s, types, late->refusal ? late->refusal : late->summary, NULL);
	sheet_list_begin(s, inexact);
	for (; line && (end = strchr(line, '\n')); line = end + 1) {
		struct text text = {0};

		text_put(&text, line, (size_t)(end - line));
		text_put(&text, "", 1);
		s->out->failed |= text.failed;
		sheet_list_string(s, inexact, text.failed ? "" : text.data);
		text_free(&text);
	}
	sheet_list_end(s);
}

static void tell_late_views(struct sheet *s, const struct plan *p)
{
	const struct view *view;

	for (size_t i = 0; (view = view_at(i)); i++)
		if (view_state(p, view)->late)
			tell_late(s, view, view_state(p, view)->late);
}

/* The last lines, for readers in a hurry. */
static void tell_verdict(const struct report *r, const struct findings *f, struct text *out)
{
	const struct tensors *ts = r->plan->tensors;
	const uint64_t odd = r->plan->c->warning_count + findings_remarks(f);
	const uint64_t infinite = findings_count(f, overflow.key), zero = findings_count(f, vanish.key);
	struct totals t;

	totals_of(ts, &t);
	text_printf(out, "\n%s: all %zu modules and %zu tensors can be served", odd ? "OK, with remarks" : "OK",
	    ts->encoded_count, ts->count);
	if (odd)
		text_printf(out, "; %llu remark%s above (Warning, Zeros, Scales)", (ull)odd, odd == 1 ? "" : "s");
	text_printf(out, ".\n");
	text_bytes(out, t.source_bytes);
	text_printf(out, " of ");
	for (size_t i = 0; i < t.bits_count; i++)
		text_printf(out, "%s%lld", i ? "/" : "", (long long)t.bits[i].value);
	text_printf(out, "-bit ");
	for (size_t i = 0; i < t.formats_count; i++)
		text_printf(out, "%s%s", i ? ", " : "", t.formats[i]);
	text_printf(out, " become ");
	text_bytes(out, t.dense_bytes[DTYPE_F16]);
	text_printf(out, " in fp16 and bf16, ");
	text_bytes(out, t.dense_bytes[DTYPE_F32]);
	text_printf(out, " in fp32.\n");
	text_printf(out, "Use the %s view", report_view(&t));
	if (infinite || zero)
		text_printf(out, "; fp16 makes %llu stored values inf and %llu zero", (ull)infinite, (ull)zero);
	text_printf(out, ".\n");
}

void report_check(const struct report *r, const struct findings *f, bool json, struct text *out)
{
	struct sheet s;

	if (!json)
		report_modules_text(r->plan->tensors, out);
	sheet_begin(&s, out, json);
	report_model(r, &s);
	tell_findings(&s, f);
	tell_blobs(&s, r->blobs);
	tell_late_views(&s, r->plan);
	if (json)
		report_modules_json(r->plan->tensors, &s);
	sheet_end(&s);
	if (!json)
		tell_verdict(r, f, out);
}
