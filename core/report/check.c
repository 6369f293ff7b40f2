/* SPDX-License-Identifier: MIT */

/* --check: what only reading everything tells. */

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "base/half.h"
#include "file/guard.h"
#include "report/report.h"

typedef unsigned long long ull;

/* ---- reading everything ---- */

struct examination {
	const struct module *module;
	const struct tensor *tensor;
	const unsigned char *data;
	struct findings *f;
};

static float scale_at(const unsigned char *scales, enum dtype dtype, uint64_t i)
{
	uint32_t bits = 0;

	memcpy(&bits, scales + i * dtype_bytes(dtype), dtype_bytes(dtype));
	return dtype == DTYPE_F16    ? float_of_half((uint16_t)bits)
	       : dtype == DTYPE_BF16 ? float_of_bf16((uint16_t)bits)
	                             : float_of_bits(bits);
}

/* The repair was decided by row 0; the other rows of a symmetric module are the same. */
static void examine_repaired(const struct examination *e)
{
	const size_t row = (size_t)(e->module->qzeros->bytes / e->module->q.groups);

	for (uint32_t g = 1; g < e->module->q.groups; g++)
		e->f->zeros_uneven += memcmp(e->data, e->data + g * row, row) != 0;
}

static void examine_module(void *ctx)
{
	const struct examination *e = ctx;
	const struct qtensor *q = &e->module->q;
	const uint64_t scales = (uint64_t)q->groups * q->out_features;
	struct qtensor raw = *q;

	for (uint64_t i = 0; i < scales; i++)
		e->f->scales_not_finite += !isfinite(scale_at(q->scales, q->scale_dtype, i));
	e->f->scales += scales;
	if (e->data && e->module->repair)
		examine_repaired(e);
	if (q->zeros == ZEROS_MIDDLE)
		return;
	raw.zeros = ZEROS_V2;
	for (uint32_t g = 0; e->module->symmetric && g < q->groups; g++)
		for (uint32_t n = 0; n < q->out_features; n++)
			e->f->zeros_uneven += qtensor_zero(q, g, n) != 1u << (q->bits - 1);
	for (uint32_t g = 0; q->zeros == ZEROS_V1 && g < q->groups; g++)
		for (uint32_t n = 0; n < q->out_features; n++)
			e->f->zero_max_fields += qtensor_zero(&raw, g, n) == (1u << q->bits) - 1;
	e->f->zero_fields += scales;
}

static void examine_stored(void *ctx)
{
	const struct examination *e = ctx;
	const struct st_tensor *s = e->tensor->stored;
	const uint64_t count = s->bytes / dtype_bytes(s->dtype);

	for (uint64_t i = 0; i < count; i++) {
		const float value = scale_at(e->data, s->dtype, i);
		const uint16_t half = half_of_float(value) & 0x7fff;

		e->f->overflow += isfinite(value) && half == 0x7c00;
		e->f->vanish += value != 0 && half == 0;
	}
}

int report_examine(struct checkpoint *c, const struct source *s, struct findings *out, struct gptqfs_error *err)
{
	*out = (struct findings){0};
	for (size_t i = 0; i < s->module_count; i++) {
		const struct st_tensor *qzeros = s->modules[i].qzeros;
		struct examination e = {
		    .module = &s->modules[i], .f = out, .data = qzeros ? checkpoint_data(c, qzeros) : NULL};

		if (source_guard(examine_module, &e))
			return err_set(err, -EIO, "%s: module %.200s cannot be read", e.module->files[0]->name,
			    e.module->name);
	}
	for (size_t i = 0; i < s->tensor_count; i++) {
		const struct st_tensor *st = s->tensors[i].stored;
		struct examination e = {.tensor = &s->tensors[i], .f = out};

		if (!st || (st->dtype != DTYPE_BF16 && st->dtype != DTYPE_F32))
			continue;
		e.data = checkpoint_data(c, st);
		if (source_guard(examine_stored, &e))
			return err_set(err, -EIO, "%s: tensor %.200s cannot be read", checkpoint_file(c, st)->name,
			    st->name);
	}
	return 0;
}

/* ---- telling ---- */

static const char *zeros_name(const struct qtensor *q)
{
	static const char *const names[] = {[ZEROS_V1] = "v1", [ZEROS_V2] = "v2", [ZEROS_MIDDLE] = "mid"};

	return names[q->zeros];
}

static void tell_findings(struct sheet *s, const struct findings *f)
{
	sheet_number(s, "Zeros_read", f->zero_fields, NULL);
	sheet_number(s, "Zeros_v1_maximal", f->zero_max_fields, "fields that readers disagree on");
	sheet_number(s, "Zeros_uneven", f->zeros_uneven, "not the middle value, in modules whose first row is");
	sheet_number(s, "Scales_read", f->scales, NULL);
	sheet_number(s, "Scales_not_finite", f->scales_not_finite, NULL);
	sheet_number(s, "Fp16_overflow", f->overflow, "stored values that become inf in the fp16 view");
	sheet_number(s, "Fp16_vanish", f->vanish, "stored values that become 0 in the fp16 view");
}

static void module_line(const struct module *m, struct text *out)
{
	const struct qtensor *q = &m->q;
	const size_t before = out->len;

	text_ascii(out, m->name);
	text_printf(out, "%*s %4d %6u %5s %4s %5s %7u %7u %12llu %12llu\n",
	    out->len - before < 48 ? 48 - (int)(out->len - before) : 0, "", q->bits, q->group_size,
	    q->g_idx ? "act" : "-", m->symmetric ? "yes" : "no", zeros_name(q), q->in_features, q->out_features,
	    (ull)m->packed_bytes, (ull)q->in_features * q->out_features * 2);
}

static void json_module(const struct module *m, struct text *out)
{
	const struct qtensor *q = &m->q;

	text_printf(out, "    {\"name\": ");
	text_json_ascii(out, m->name);
	text_printf(out,
	    ", \"bits\": %d, \"group_size\": %u, \"act_order\": %s, \"symmetric\": %s, \"zeros\": \"%s\", ", q->bits,
	    q->group_size, q->g_idx ? "true" : "false", m->symmetric ? "true" : "false", zeros_name(q));
	text_printf(out, "\"repair\": ");
	if (m->repair)
		text_json_ascii(out, m->repair);
	else
		text_printf(out, "null");
	text_printf(out, ", ");
	text_printf(out, "\"in_features\": %u, \"out_features\": %u, \"groups\": %u, \"scales\": \"%s\", ",
	    q->in_features, q->out_features, q->groups, dtype_name(q->scale_dtype));
	text_printf(out, "\"packed_bytes\": %llu, \"fp16_bytes\": %llu, \"shards\": [", (ull)m->packed_bytes,
	    (ull)q->in_features * q->out_features * 2);
	for (int i = 0; i < TENSOR_FILES && m->files[i]; i++) {
		text_printf(out, "%s", i ? ", " : "");
		text_json_ascii(out, m->files[i]->name);
	}
	text_printf(out, "]}");
}

void report_modules(const struct source *src, struct sheet *s)
{
	sheet_key(s, "Modules");
	text_printf(s->out, "[");
	for (size_t i = 0; i < src->module_count; i++) {
		text_printf(s->out, "%s\n", i ? "," : "");
		json_module(&src->modules[i], s->out);
	}
	text_printf(s->out, "\n  ]");
}

/* Everything that is not as it should be, but is served. */
static uint64_t oddities(const struct checkpoint *c, const struct findings *f)
{
	return c->warning_count + (f->zero_max_fields != 0) + (f->zeros_uneven != 0) + (f->scales_not_finite != 0);
}

/* The last lines, for whoever reads nothing else. */
static void tell_verdict(const struct checkpoint *c, const struct source *src, const struct findings *f,
    struct text *out)
{
	const uint64_t odd = oddities(c, f);
	struct totals t;

	totals_of(c, src, &t);
	text_printf(out, "\n%s: all of %zu modules and %zu tensors can be served", odd ? "OK, with remarks" : "OK",
	    src->module_count, src->tensor_count);
	if (odd)
		text_printf(out, "; %llu remark%s above (Warning, Zeros, Scales)", (ull)odd, odd == 1 ? "" : "s");
	text_printf(out, ".\n");
	text_bytes(out, t.source_bytes);
	text_printf(out, " of ");
	for (size_t i = 0; i < t.bits_count; i++)
		text_printf(out, "%s%lld", i ? "/" : "", (long long)t.bits[i].value);
	text_printf(out, "-bit %s become ", src->format);
	text_bytes(out, t.dense_bytes[DTYPE_F16]);
	text_printf(out, " in fp16 and bf16, ");
	text_bytes(out, t.dense_bytes[DTYPE_F32]);
	text_printf(out, " in fp32.\n");
	text_printf(out, "Use the %s view", report_view(&t));
	if (f->overflow || f->vanish)
		text_printf(out, "; fp16 makes %llu stored values inf and %llu zero", (ull)f->overflow, (ull)f->vanish);
	text_printf(out, ".\n");
}

void report_check(const struct checkpoint *c, const struct source *src, const struct findings *f, bool json,
    struct text *out)
{
	struct sheet s;

	if (!json) {
		text_printf(out, "%-48s %4s %6s %5s %4s %5s %7s %7s %12s %12s\n", "module", "bits", "group", "order",
		    "sym", "zeros", "in", "out", "packed", "fp16");
		for (size_t i = 0; i < src->module_count; i++)
			module_line(&src->modules[i], out);
		text_printf(out, "\n");
	}
	sheet_begin(&s, out, json);
	report_model(c, src, &s);
	tell_findings(&s, f);
	if (json)
		report_modules(src, &s);
	sheet_end(&s);
	if (!json)
		tell_verdict(c, src, f, out);
}
