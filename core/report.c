/* SPDX-License-Identifier: MIT */
#include "report.h"

#include <errno.h>
#include <math.h>
#include <string.h>

#include "checked.h"
#include "err.h"
#include "half.h"
#include "view.h"

typedef unsigned long long ull;

/* ---- sums over the modules ---- */

struct totals {
	uint64_t by_bits[9], act_order, symmetric, repaired, parameters, packed, stored, dense;
	enum dtype recommended;
};

static const char *view_of(enum dtype dtype)
{
	static const char *const names[DTYPE_VIEWS] = {"fp16", "bf16", "fp32"};

	return names[dtype];
}

/* The type most of the stored floats have: what the model was made in. Scales are F16 even in bf16 models. */
static enum dtype native_dtype(const struct source *s)
{
	uint64_t bytes[DTYPE_CASTS] = {0};
	enum dtype best = DTYPE_F16;

	for (size_t i = 0; i < s->tensor_count; i++)
		if (s->tensors[i].stored && dtype_is_cast(s->tensors[i].stored->dtype))
			bytes[s->tensors[i].stored->dtype] += s->tensors[i].stored->bytes;
	bytes[DTYPE_F32] += bytes[DTYPE_F64];
	for (enum dtype d = 0; d < DTYPE_VIEWS; d++)
		if (bytes[d] > bytes[best])
			best = d;
	return best;
}

static void add_up(const struct source *s, struct totals *t)
{
	*t = (struct totals){.recommended = native_dtype(s)};
	for (size_t i = 0; i < s->module_count; i++) {
		const struct module *m = &s->modules[i];

		t->by_bits[m->q.bits]++;
		t->act_order += m->q.g_idx != NULL;
		t->symmetric += m->symmetric;
		t->repaired += m->repair != NULL;
		t->packed += m->packed_bytes;
		t->parameters += (uint64_t)m->q.in_features * m->q.out_features;
	}
	t->dense = t->parameters * 2;
	for (size_t i = 0; i < s->tensor_count; i++) {
		const struct st_tensor *st = s->tensors[i].stored;

		if (!st)
			continue;
		t->stored += st->bytes;
		t->parameters += st->bytes * 8 / dtype_bits(st->dtype);
		t->dense += dtype_is_cast(st->dtype) ? st->bytes / dtype_bytes(st->dtype) * 2 : st->bytes;
	}
}

static const char *zeros_name(const struct qtensor *q)
{
	static const char *const names[] = {[ZEROS_V1] = "v1", [ZEROS_V2] = "v2", [ZEROS_MIDDLE] = "mid"};

	return names[q->zeros];
}

static const char *or_dash(const char *s)
{
	return s && *s ? s : "-";
}

/* ---- info and README ---- */

void report_info(const struct checkpoint *c, const struct source *s, struct text *out)
{
	struct totals t;

	add_up(s, &t);
	text_printf(out, "Source:             %s\n", c->dir.path);
	text_printf(out, "Format:             %s\n", s->format);
	text_printf(out, "Checkpoint_format:  %s\n", or_dash(c->quant.format));
	text_printf(out, "Producer:           %s\n", or_dash(c->quant.producer));
	text_printf(out, "Configuration:      %s\n", or_dash(c->quant.file));
	text_printf(out, "Bits:              ");
	for (int bits = 2; bits <= 8; bits++)
		if (t.by_bits[bits])
			text_printf(out, " %d (%llu modules)", bits, (ull)t.by_bits[bits]);
	text_printf(out, "\nGroup_size:         %lld\n", (long long)c->quant.group_size);
	text_printf(out, "Modules:            %zu\n", s->module_count);
	text_printf(out, "Modules_symmetric:  %llu\n", (ull)t.symmetric);
	text_printf(out, "Modules_repaired:   %llu\n", (ull)t.repaired);
	text_printf(out, "Modules_act_order:  %llu\n", (ull)t.act_order);
	text_printf(out, "Tensors:            %zu\n", s->tensor_count);
	text_printf(out, "Parameters:         %llu\n", (ull)t.parameters);
	text_printf(out, "Shards:             %zu\n", c->shard_count);
	text_printf(out, "Source_bytes:       %llu\n", (ull)(t.packed + t.stored));
	text_printf(out, "Dense_fp16_bytes:   %llu\n", (ull)t.dense);
	text_printf(out, "Recommended_view:   %s (the type of most unquantized tensors)\n", view_of(t.recommended));
	text_printf(out, "Checked:            headers, shapes, g_idx, first row of zeros (all else: gptqfs --check)\n");
	text_printf(out, "Warnings:           %zu\n", c->warning_count);
	for (size_t i = 0; i < c->warning_count; i++)
		text_printf(out, "Warning:            %s\n", c->warnings[i]);
}

void report_readme(const struct checkpoint *c, struct text *out)
{
	const struct view *view;

	text_printf(out,
	    "This is a GPTQ-quantized model, shown by gptqfs as ordinary model files. Every weight is computed when it is\n"
	    "read; nothing is stored.\n"
	    "Source: %s\n"
	    "\n",
	    c->dir.path);
	for (size_t i = 0; (view = view_at(i)); i++)
		text_printf(out, "%-12s %s\n", view->name, view->about);
	text_printf(out,
	    "%-12s what the model is, which view fits it, and every warning\n"
	    "\n"
	    "  cat info\n"
	    "  python3 -c 'from transformers import AutoModelForCausalLM as A; A.from_pretrained(\"fp16\")'\n"
	    "  cp -r fp16 /somewhere/else      # an ordinary copy\n"
	    "\n"
	    "Unmount with: fusermount3 -u MOUNTPOINT\n",
	    "info");
}

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

/* ---- --check ---- */

void report_text(const struct checkpoint *c, const struct source *s, const struct findings *f, struct text *out)
{
	struct totals t;

	add_up(s, &t);
	text_printf(out, "%-48s %4s %6s %5s %4s %5s %7s %7s %12s %12s\n", "module", "bits", "group", "order", "sym",
	    "zeros", "in", "out", "packed", "fp16");
	for (size_t i = 0; i < s->module_count; i++) {
		const struct module *m = &s->modules[i];
		const struct qtensor *q = &m->q;

		text_printf(out, "%-48s %4d %6u %5s %4s %5s %7u %7u %12llu %12llu\n", m->name, q->bits, q->group_size,
		    q->g_idx ? "act" : "-", m->symmetric ? "yes" : "no", zeros_name(q), q->in_features, q->out_features,
		    (ull)m->packed_bytes, (ull)q->in_features * q->out_features * 2);
	}
	text_printf(out, "\n");
	report_info(c, s, out);
	text_printf(out, "Zeros_read:         %llu\n", (ull)f->zero_fields);
	text_printf(out, "Zeros_v1_maximal:   %llu (fields that readers disagree on)\n", (ull)f->zero_max_fields);
	text_printf(out, "Zeros_uneven:       %llu (not the middle value, in modules whose first row is)\n",
	    (ull)f->zeros_uneven);
	text_printf(out, "Scales_read:        %llu\n", (ull)f->scales);
	text_printf(out, "Scales_not_finite:  %llu\n", (ull)f->scales_not_finite);
	text_printf(out, "Fp16_overflow:      %llu (stored values that become inf in the fp16 view)\n",
	    (ull)f->overflow);
	text_printf(out, "Fp16_vanish:        %llu (stored values that become 0 in the fp16 view)\n", (ull)f->vanish);
}

static void json_module(const struct module *m, struct text *out)
{
	const struct qtensor *q = &m->q;

	text_printf(out, "    {\"name\": ");
	text_json_string(out, m->name);
	text_printf(out,
	    ", \"bits\": %d, \"group_size\": %u, \"act_order\": %s, \"symmetric\": %s, \"zeros\": \"%s\", ", q->bits,
	    q->group_size, q->g_idx ? "true" : "false", m->symmetric ? "true" : "false", zeros_name(q));
	text_printf(out, "\"repair\": ");
	if (m->repair)
		text_json_string(out, m->repair);
	else
		text_printf(out, "null");
	text_printf(out, ", ");
	text_printf(out, "\"in_features\": %u, \"out_features\": %u, \"groups\": %u, \"scales\": \"%s\", ",
	    q->in_features, q->out_features, q->groups, dtype_name(q->scale_dtype));
	text_printf(out, "\"packed_bytes\": %llu, \"fp16_bytes\": %llu, \"shards\": [", (ull)m->packed_bytes,
	    (ull)q->in_features * q->out_features * 2);
	for (int i = 0; i < TENSOR_FILES && m->files[i]; i++) {
		text_printf(out, "%s", i ? ", " : "");
		text_json_string(out, m->files[i]->name);
	}
	text_printf(out, "]}");
}

void report_json(const struct checkpoint *c, const struct source *s, const struct findings *f, struct text *out)
{
	struct totals t;

	add_up(s, &t);
	text_printf(out, "{\n  \"source\": ");
	text_json_string(out, c->dir.path);
	text_printf(out, ",\n  \"format\": \"%s\",\n  \"checkpoint_format\": ", s->format);
	text_json_string(out, c->quant.format);
	text_printf(out, ",\n  \"producer\": ");
	text_json_string(out, c->quant.producer);
	text_printf(out, ",\n  \"tensors\": %zu,\n  \"parameters\": %llu,\n  \"shards\": %zu,\n", s->tensor_count,
	    (ull)t.parameters, c->shard_count);
	text_printf(out, "  \"source_bytes\": %llu,\n  \"dense_fp16_bytes\": %llu,\n  \"recommended_view\": \"%s\",\n",
	    (ull)(t.packed + t.stored), (ull)t.dense, view_of(t.recommended));
	text_printf(out, "  \"zeros_read\": %llu,\n  \"zeros_v1_maximal\": %llu,\n  \"zeros_uneven\": %llu,\n",
	    (ull)f->zero_fields, (ull)f->zero_max_fields, (ull)f->zeros_uneven);
	text_printf(out, "  \"scales_read\": %llu,\n", (ull)f->scales);
	text_printf(out, "  \"scales_not_finite\": %llu,\n  \"fp16_overflow\": %llu,\n  \"fp16_vanish\": %llu,\n",
	    (ull)f->scales_not_finite, (ull)f->overflow, (ull)f->vanish);
	text_printf(out, "  \"warnings\": [");
	for (size_t i = 0; i < c->warning_count; i++) {
		text_printf(out, "%s", i ? ", " : "");
		text_json_string(out, c->warnings[i]);
	}
	text_printf(out, "],\n  \"modules\": [\n");
	for (size_t i = 0; i < s->module_count; i++) {
		json_module(&s->modules[i], out);
		text_printf(out, "%s\n", i + 1 < s->module_count ? "," : "");
	}
	text_printf(out, "  ]\n}\n");
}
