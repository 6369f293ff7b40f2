/* SPDX-License-Identifier: MIT */

/*
 * AWQ: X.qweight, X.scales and mostly X.qzeros, of 4 bits, in one of three layouts (kernel/awq/awq.h). GEMM, which
 * nearly all checkpoints have, and GEMV fast are recognised by their shapes; GEMV may have the shapes of GPTQ, so only
 * the configuration tells them apart. Unlike GPTQ's, zeros are stored as they are. Sources: AutoAWQ's gemm.py, gemv.py,
 * gemv_fast.py and scale.py; AutoRound's export_to_awq; GPTQModel's awq packers.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/checked.h"
#include "base/err.h"
#include "kernel/element.h"
#include "quant/family.h"
#include "quant/gptq/form.h"
#include "quant/matrix_rows.h"
#include "quant/repack.h"

/* As those of GPTQ. */
#define IN_FEATURES_MAX ((uint64_t)1 << 22)
#define OUT_FEATURES_MAX ((uint64_t)1 << 24)

enum awq_part { AWQ_QWEIGHT, AWQ_QZEROS, AWQ_SCALES };

static const char *const suffixes[] = {".qweight", ".qzeros", ".scales", NULL};

struct awq_module {
	struct encoded e; /* first */
	struct awq_tensor t;
	/* No zeros are stored; or the configuration says that they are the middle value, and the first ones are. */
	bool symmetric;
};

/* What the configuration says; shapes take precedence. */
struct awq_config {
	const char *file; /* that calls the model AWQ, or NULL */
	const char *version, *producer;
	bool gptq;    /* a configuration calls it GPTQ, which has tensors of the same names */
	int64_t bits; /* 0 if absent */
	int64_t group_size;
	bool gemv;
	bool symmetric;
};

struct awq_opener {
	struct opening *o;
	struct awq_config config;
};

static const struct awq_module *awq_module_of(const struct encoded *e)
{
	return (const struct awq_module *)e;
}

static uint32_t awq_groups(const struct awq_tensor *t)
{
	return (t->in_features - 1) / t->group_size + 1;
}

/* ---- rows ---- */

static void awq_fill(const struct matrix_part *p, void *dst)
{
	const struct awq_tensor *t = &awq_module_of(p->e)->t;

	p->kernels->awq.rows[t->layout][p->out](dst, t, &p->rect);
}

/* Any row of GEMM touches every page of the matrix. */
static void awq_gemm_needs(const struct matrix_part *p, const struct inputs *in, struct spans *out)
{
	const struct awq_tensor *t = &awq_module_of(p->e)->t;

	inputs_add_span(in, t->scales, p->e->part[AWQ_SCALES]->bytes, out);
	if (t->qzeros)
		inputs_add_span(in, t->qzeros, p->e->part[AWQ_QZEROS]->bytes, out);
	inputs_add_span(in, t->qweight, p->e->part[AWQ_QWEIGHT]->bytes, out);
}

/* Rows of GEMV are one after another, those of GEMV fast by fours. */
static void awq_gemv_needs(const struct matrix_part *p, const struct inputs *in, struct spans *out)
{
	const struct kernel_rect *r = &p->rect;
	const struct awq_tensor *t = &awq_module_of(p->e)->t;
	const uint32_t first = r->row0 / 4 * 4, end = (r->row0 + r->rows + 3) / 4 * 4;
	const uint64_t row_bytes = t->in_features / 2, all = p->e->part[AWQ_QWEIGHT]->bytes;
	const uint64_t to = end * row_bytes < all ? end * row_bytes : all;

	inputs_add_span(in, t->scales, p->e->part[AWQ_SCALES]->bytes, out);
	if (t->qzeros)
		inputs_add_span(in, t->qzeros, p->e->part[AWQ_QZEROS]->bytes, out);
	inputs_add_span(in, t->qweight + first * row_bytes, to - first * row_bytes, out);
}

static const struct matrix_ops awq_gemm_matrix = {awq_fill, awq_gemm_needs, .cut = MATRIX_CUT, .scattered = true};
static const struct matrix_ops awq_gemv_matrix = {awq_fill, awq_gemv_needs, .cut = MATRIX_CUT};

static void awq_codes(const struct encoded *e, const struct code_rect *r, const struct codes *out)
{
	const struct awq_tensor *t = &awq_module_of(e)->t;
	size_t i = 0;

	for (uint64_t n = r->row0; n < r->row0 + r->rows; n++)
		for (uint64_t k = r->column0; k < r->column0 + r->columns; k++, i++) {
			const uint32_t row = (uint32_t)n, g = (uint32_t)k / t->group_size;

			if (out->code)
				out->code[i] = (uint8_t)awq_code(t, row, (uint32_t)k);
			if (out->zero)
				out->zero[i] = (uint8_t)awq_zero(t, row, g);
			if (out->scale)
				out->scale[i] = element_load(t->scales, awq_scale_index(t, row, g), t->scale_dtype);
			if (out->half)
				out->half[i] = element_half(t->scales, awq_scale_index(t, row, g), t->scale_dtype);
		}
}

static void awq_units(const struct encoded *e, const struct kernels *k, const uint16_t *units, void *dst,
    const struct kernel_rect *r)
{
	struct awq_tensor t = awq_module_of(e)->t;

	t.scales = (const unsigned char *)units;
	t.scale_dtype = DTYPE_F16;
	k->awq.rows[t.layout][DTYPE_F16](dst, &t, r);
}

/* Of GEMV fast. */
static void awq_lines(const struct encoded *e, const struct code_rect *r, const struct lines *out)
{
	const struct awq_tensor *t = &awq_module_of(e)->t;
	size_t i = 0;

	for (uint32_t n = (uint32_t)r->row0; n < r->row0 + r->rows; n++)
		for (uint32_t k = (uint32_t)r->column0; k < r->column0 + r->columns; k++, i++) {
			const size_t at = awq_scale_index(t, n, k / t->group_size);

			if (out->code)
				out->code[i] = (uint8_t)awq_code(t, n, k);
			if (out->scale)
				out->scale[i] = element_load(t->scales, at, t->scale_dtype);
			if (out->bias)
				out->bias[i] = element_load(t->qzeros, at, t->scale_dtype);
		}
}

static bool awq_line_levels(const struct encoded *e, struct code_levels *out)
{
	const struct awq_tensor *t = &awq_module_of(e)->t;

	*out = code_levels_begin(4, code_levels_run(t->in_features, t->group_size, NULL), 0);
	return true;
}

static void awq_levels(const struct encoded *e, struct code_levels *out)
{
	const struct awq_tensor *t = &awq_module_of(e)->t;
	const uint32_t groups = (t->in_features - 1) / t->group_size + 1;

	*out = code_levels_begin(4, code_levels_run(t->in_features, t->group_size, NULL),
	    (uint64_t)t->slots * t->out_features);
	for (uint32_t n = 0; n < t->out_features; n++)
		for (uint32_t g = 0; g < groups; g++) {
			code_levels_zero(out, (int32_t)awq_zero(t, n, g));
			if (t->scale_dtype != DTYPE_F16)
				code_levels_scale(out,
				    element_load(t->scales, awq_scale_index(t, n, g), t->scale_dtype));
		}
}

/* ---- GPTQ's form ---- */

/* Swaps the upper `shift` bits of pairs of fields of a with the lower ones of b. */
static void swap_fields(uint32_t *a, uint32_t *b, unsigned shift, uint32_t lower)
{
	const uint32_t both = (*a >> shift ^ *b) & lower;

	*b ^= both;
	*a ^= both << shift;
}

/* Transposes eight words of eight nibbles: nibble j of word i goes to nibble i of word j. */
static void transpose_nibbles(uint32_t w[8])
{
	for (unsigned i = 0; i < 4; i++)
		swap_fields(&w[i], &w[i + 4], 16, 0x0000ffff);
	for (unsigned i = 0; i < 8; i += i % 4 == 1 ? 3 : 1)
		swap_fields(&w[i], &w[i + 2], 8, 0x00ff00ff);
	for (unsigned i = 0; i < 8; i += 2)
		swap_fields(&w[i], &w[i + 1], 4, 0x0f0f0f0f);
}

/* Eight rows of words that hold eight columns each become one row of words that hold eight inputs each. */
static void awq_form_codes(const struct encoded *e, uint64_t row, uint32_t column0, uint32_t columns, void *dst)
{
	const struct awq_tensor *t = &awq_module_of(e)->t;
	const size_t row_bytes = t->out_features / 2, k0 = row * 8,
		     rows = t->in_features - k0 < 8 ? t->in_features - k0 : 8;
	const unsigned char *from = t->qweight + k0 * row_bytes + column0 / 2;
	unsigned char *to = dst;

	for (uint32_t c = 0; c < columns; c += 8, from += 4, to += 32) {
		uint32_t w[8] = {0};

		for (size_t i = 0; i < rows; i++)
			memcpy(&w[i], from + i * row_bytes, 4);
		transpose_nibbles(w);
		for (unsigned i = 0; i < 8; i++)
			memcpy(to + i * 4, &w[awq_nibble(i)], 4);
	}
}

static const char *awq_form(const struct encoded *e, struct gptq_form *out)
{
	const struct awq_module *m = awq_module_of(e);
	const struct awq_tensor *t = &m->t;
	const bool gemm = t->layout == AWQ_GEMM;

	*out = (struct gptq_form){
	    .q = {.in_features = t->in_features,
		.out_features = t->out_features,
		.groups = awq_groups(t),
		.group_size = t->group_size,
		.bits = 4,
		.word_bits = 32,
		.packing = PACKING_STREAM,
		.zeros = t->qzeros ? ZEROS_V2 : ZEROS_MIDDLE,
		.scale_dtype = t->scale_dtype},
	    .stored = ZEROS_MIDDLE,
	    .symmetric = m->symmetric,
	    .part = {[GPTQ_SCALES] = gemm ? e->part[AWQ_SCALES] : NULL},
	    .codes = {t->qweight, (gemm ? t->out_features : t->in_features) / 2},
	    .scales = {t->scales, t->slots * sizeof(uint16_t)},
	};
	return NULL;
}

static const char *awq_fast_form(const struct encoded *e, struct gptq_form *out)
{
	(void)e;
	(void)out;
	return "has zeros that are floats";
}

static uint32_t awq_form_zero(const struct encoded *e, uint32_t n, uint32_t g)
{
	return awq_zero(&awq_module_of(e)->t, n, g);
}

static const struct gptq_form_ops awq_gemm_form = {awq_form, awq_form_zero, awq_form_codes},
				  awq_gemv_form = {awq_form, awq_form_zero, NULL},
				  awq_none_form = {awq_fast_form, NULL, NULL};

/* ---- telling ---- */

static const char *layout_name(enum awq_layout layout)
{
	static const char *const names[] = {[AWQ_GEMM] = "gemm", [AWQ_GEMV] = "gemv", [AWQ_GEMV_FAST] = "gemv_fast"};

	return names[layout];
}

static void awq_describe(const struct encoded *e, struct facts *out)
{
	const struct awq_module *m = awq_module_of(e);

	facts_number(out, "bits", 4);
	facts_number(out, "group_size", m->t.group_size);
	facts_number(out, "groups", awq_groups(&m->t));
	facts_truth(out, "symmetric", m->symmetric);
	facts_word(out, "layout", layout_name(m->t.layout));
	facts_word(out, "scale_dtype", dtype_name(m->t.scale_dtype));
}

static void awq_summarize(const struct encoded *e, struct text *out)
{
	const struct awq_module *m = awq_module_of(e);

	text_printf(out, "4-bit, group size %u, %s, %s", m->t.group_size, m->symmetric ? "symmetric" : "asymmetric",
	    layout_name(m->t.layout));
}

static const struct finding zeros_uneven = {
    .key = "Zeros_uneven", .note = "not the middle value, in modules that are said to be symmetric", .remark = true};

static void awq_examine(const struct encoded *e, struct findings *out)
{
	const struct awq_module *m = awq_module_of(e);
	const struct awq_tensor *t = &m->t;
	const bool look = m->symmetric && t->qzeros && t->layout != AWQ_GEMV_FAST;
	const uint32_t groups = awq_groups(t);
	struct scale_counts scales = {0};
	uint64_t uneven = 0;

	for (uint32_t n = 0; n < t->out_features; n++)
		for (uint32_t g = 0; g < groups; g++) {
			scale_count(&scales, element_load(t->scales, awq_scale_index(t, n, g), t->scale_dtype));
			uneven += look && awq_zero(t, n, g) != 8;
		}
	findings_add(out, &zeros_uneven, uneven);
	findings_add_scales(out, &scales);
}

#define AWQ_MEMBERS(ops)                                                                                    \
	.name = "AWQ", .suffixes = suffixes, .rows = matrix_rows, .matrix = &ops, .describe = awq_describe, \
	.summarize = awq_summarize, .examine = awq_examine, .repack = &gptq_repack
#define AWQ_CODES .codes = awq_codes, .units = awq_units, .levels = awq_levels

static const struct encoding awq_gemm_encoding = {AWQ_MEMBERS(awq_gemm_matrix), AWQ_CODES, .gptq = &awq_gemm_form};
static const struct encoding awq_gemv_encoding = {AWQ_MEMBERS(awq_gemv_matrix), AWQ_CODES, .gptq = &awq_gemv_form};
/* Zeros that are floats are biases, not codes. */
static const struct encoding awq_fast_encoding = {
    AWQ_MEMBERS(awq_gemv_matrix), .lines = awq_lines, .line_levels = awq_line_levels, .gptq = &awq_none_form};

/* ---- the configuration ---- */

static const char *awq_word(const struct json *config, const char *const *keys)
{
	const char *word = NULL;

	while (*keys && !word)
		word = json_str(json_get(config, *keys++));
	return word;
}

static void read_awq_number(const struct json *config, const char *const *keys, int64_t *out)
{
	for (; *keys && !*out; keys++)
		json_integer(json_get(config, *keys), out);
}

/* True if a configuration is one of AWQ. The first AutoAWQ named no method. */
static bool is_awq_config(const struct json *config, const char *method, const char *version)
{
	static const char *const labels[] = {"packing_format", "backend", NULL};
	const char *label = awq_word(config, labels);

	if (!method)
		return version && strncasecmp(version, "gem", 3) == 0;
	return strcasecmp(method, "awq") == 0 || (strstr(method, "round") && label && strstr(label, "awq"));
}

static int read_awq_config(void *ctx, const char *file, const struct json *config)
{
	static const char *const methods[] = {"quant_method", "method", NULL};
	static const char *const versions[] = {"version", "format", "checkpoint_format", NULL};
	static const char *const bits[] = {"bits", "w_bit", NULL}, *const sizes[] = {
								       "group_size", "q_group_size", NULL};
	const char *method = awq_word(config, methods), *version = awq_word(config, versions);
	struct awq_opener *o = ctx;
	struct awq_config *c = &o->config;

	if (!is_awq_config(config, method, version)) {
		c->gptq |= method && (strstr(method, "gptq") || strstr(method, "round"));
		return 0;
	}
	if (version && strcasecmp(version, "gemm") != 0 && strcasecmp(version, "gemv") != 0 &&
	    strcasecmp(version, "gemv_fast") != 0)
		return err_set(o->o->err, -ENOTSUP,
		    "%s: AWQ's version is \"%.80s\", which is not supported (expected gemm, gemv or gemv_fast); "
		    "convert the model with the tool that made it, or fetch another version",
		    file, version);
	c->file = c->file ? c->file : file;
	c->version = c->version ? c->version : version;
	c->producer = c->producer ? c->producer : json_str(json_get(config, "provider"));
	c->producer = c->producer ? c->producer : json_str(json_at(json_get(json_get(config, "meta"), "quantizer"), 0));
	c->gemv = c->version && strcasecmp(c->version, "gemv") == 0;
	c->symmetric |= !json_bool(json_get(config, "zero_point"), true) || json_bool(json_get(config, "sym"), false);
	read_awq_number(config, bits, &c->bits);
	read_awq_number(config, sizes, &c->group_size);
	if (c->bits && c->bits != 4)
		return err_set(o->o->err, -ENOTSUP,
		    "%s: AWQ of %lld bits is not supported (expected 4); fetch a version of 4 bits", file,
		    (long long)c->bits);
	return 0;
}

/* ---- which tensors ---- */

static bool awq_is_codes(const struct opening *o, const struct st_tensor *t)
{
	(void)o;
	return ends_with(t->name, ".qweight");
}

static bool awq_claims(const struct opening *o)
{
	return opening_has(o, awq_is_codes);
}

static bool awq_is_matrix(const struct st_tensor *t)
{
	return t->ndim == 2 && t->shape[0] && t->shape[1];
}

/* The stored tensors of a module. */
struct awq_parts {
	const struct st_tensor *part[3]; /* [enum awq_part] scales and zeros may be NULL */
	enum awq_layout layout;          /* that their shapes are of; AWQ_LAYOUTS if they are another family's */
};

static enum awq_layout find_layout(const struct awq_opener *o, const struct awq_parts *p)
{
	const struct st_tensor *w = p->part[AWQ_QWEIGHT], *s = p->part[AWQ_SCALES], *z = p->part[AWQ_QZEROS];

	if (!s || !awq_is_matrix(w) || !awq_is_matrix(s) || (z && !awq_is_matrix(z)))
		return AWQ_LAYOUTS;
	if (o->config.gptq && !o->config.file)
		return AWQ_LAYOUTS;
	if (w->dtype == DTYPE_I16 && z && dtype_is_view(z->dtype) && w->shape[0] * 4 == s->shape[1])
		return AWQ_GEMV_FAST;
	if (w->dtype != DTYPE_I32)
		return AWQ_LAYOUTS;
	if (o->config.gemv && w->shape[0] == s->shape[0] && (!z || z->shape[0] == s->shape[0]))
		return AWQ_GEMV;
	return w->shape[1] == s->shape[1] / 8 && s->shape[1] % 8 == 0 ? AWQ_GEMM : AWQ_LAYOUTS;
}

static struct awq_parts find_awq_parts(const struct awq_opener *o, const struct st_tensor *qweight)
{
	struct awq_parts p = {.part = {qweight}};

	for (int part = AWQ_QZEROS; part <= AWQ_SCALES; part++) {
		const struct st_tensor *t = opening_beside(o->o, qweight, ".qweight", suffixes[part]);

		p.part[part] = t && !opening_is_taken(o->o, t) ? t : NULL;
	}
	p.layout = find_layout(o, &p);
	return p;
}

/* ---- sizes ---- */

static int check_parts(const struct awq_opener *o, const struct awq_module *m)
{
	const struct awq_tensor *t = &m->t;
	const struct st_tensor *w = m->e.part[AWQ_QWEIGHT], *s = m->e.part[AWQ_SCALES], *z = m->e.part[AWQ_QZEROS];
	const bool fast = t->layout == AWQ_GEMV_FAST;
	const uint64_t per_word = fast ? 1 : 8;
	int rc = opening_check_weight(o->o, w, ".qweight");

	if (rc)
		return rc;
	if (!dtype_is_view(s->dtype))
		return opening_bad_tensor(o->o, s, "scales of type F16, BF16 or F32");
	if (z && z->dtype != (fast ? s->dtype : DTYPE_I32))
		return opening_bad_tensor(o->o, z, fast ? "zeros of the scales' type" : "zeros in words of type I32");
	if (z && (z->shape[0] != s->shape[0] || s->shape[1] / per_word != z->shape[1] || s->shape[1] % per_word))
		return opening_bad_tensor(o->o, z, "a zero for each scale");
	return 0;
}

/* Takes the sizes from the shapes. */
static int measure(const struct awq_opener *o, struct awq_module *m)
{
	const uint64_t *w = m->e.part[AWQ_QWEIGHT]->shape, *s = m->e.part[AWQ_SCALES]->shape;
	const bool gemm = m->t.layout == AWQ_GEMM, gemv = m->t.layout == AWQ_GEMV;
	const uint64_t out = gemv ? w[0] : s[1], slots = gemv ? s[1] : s[0];
	uint64_t in = gemm ? w[0] : w[1];

	if (out > OUT_FEATURES_MAX || in > IN_FEATURES_MAX || slots > IN_FEATURES_MAX)
		return opening_bad_tensor(o->o, m->e.part[AWQ_QWEIGHT],
		    "at most 4194304 in_features and 16777216 out_features");
	in *= gemv ? 8 : 1;
	if (m->t.layout == AWQ_GEMV_FAST && in % 64)
		return opening_bad_tensor(o->o, m->e.part[AWQ_QWEIGHT], "a multiple of 64 in_features");
	if (in > IN_FEATURES_MAX)
		return opening_bad_tensor(o->o, m->e.part[AWQ_QWEIGHT], "at most 4194304 in_features");
	if (gemv && slots % 8)
		return opening_bad_tensor(o->o, m->e.part[AWQ_SCALES], "a multiple of 8 columns");
	m->t.in_features = (uint32_t)in;
	m->t.out_features = (uint32_t)out;
	m->t.slots = (uint32_t)slots;
	m->t.scale_dtype = m->e.part[AWQ_SCALES]->dtype;
	return 0;
}

/*
 * Groups there is room for: GEMV kinds round them up to words of qzeros, and those up to as many as the kernel reads at
 * once.
 */
static uint64_t count_slots(enum awq_layout layout, uint64_t groups, uint64_t size)
{
	const uint64_t at_once = size >= 128 ? 1 : size >= 64 ? 2 : 4;

	return layout == AWQ_GEMM ? groups : div_up(div_up(groups, 8), at_once) * at_once * 8;
}

/* The configuration's group size if it fits the shapes, else the one that divides evenly: GEMM has no padding. */
static int awq_find_group_size(const struct awq_opener *o, struct awq_module *m)
{
	struct awq_tensor *t = &m->t;
	const int64_t wanted = o->config.group_size;
	const uint64_t in = t->in_features, size = wanted > 0 ? (uint64_t)wanted : in;

	t->group_size = (uint32_t)(size < in ? size : in);
	if (wanted && count_slots(t->layout, div_up(in, size), size) == t->slots)
		return 0;
	if (t->layout == AWQ_GEMM && in % t->slots == 0) {
		t->group_size = (uint32_t)(in / t->slots);
		if (wanted)
			opening_tally(o->o, "the configuration gives another group size",
			    "; the shapes take precedence", m->e.module);
		return 0;
	}
	return err_set(o->o->err, -EBADMSG,
	    "%s: tensor %.200s has room for %u groups of %u in_features, but the configuration says group_size %lld, "
	    "which needs %llu; correct group_size or fetch the model again",
	    opening_file(o->o, m->e.part[AWQ_SCALES]), m->e.part[AWQ_SCALES]->name, t->slots, t->in_features,
	    (long long)wanted, (unsigned long long)count_slots(t->layout, div_up(in, size), size));
}

/* ---- zeros ---- */

/* Reads the first row of zeros: of GEMM those of all outputs, of GEMV those of all groups. */
static int are_first_middle(const struct awq_opener *o, const struct awq_module *m, bool *middle)
{
	const struct st_tensor *z = m->e.part[AWQ_QZEROS];
	const bool gemm = m->t.layout == AWQ_GEMM;
	const uint32_t count = gemm ? m->t.out_features : awq_groups(&m->t);
	struct awq_tensor t = m->t;
	void *row;
	int rc = opening_read(o->o, z, z->bytes / z->shape[0], &row);

	t.qzeros = row;
	*middle = true;
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		*middle &= awq_zero(&t, gemm ? i : 0, gemm ? 0 : i) == 8;
	free(row);
	return rc;
}

/* Programs that run symmetric models look at no zeros, so a configuration is not believed. */
static int check_awq_zeros(const struct awq_opener *o, struct awq_module *m)
{
	int rc;

	m->symmetric = !m->t.qzeros || o->config.symmetric;
	if (!m->t.qzeros || !o->config.symmetric || m->t.layout == AWQ_GEMV_FAST)
		return 0;
	rc = are_first_middle(o, m, &m->symmetric);
	if (rc == 0 && !m->symmetric)
		opening_tally(o->o, "the configuration says that zeros are the middle value, and they are not",
		    "; served as stored", m->e.module);
	return rc;
}

/* ---- modules ---- */

/* Refuses a module that is AWQ by the configuration but not by its shapes. */
static int refuse_shapes(const struct awq_opener *o, const struct awq_parts *p)
{
	const struct st_tensor *w = p->part[AWQ_QWEIGHT];

	if (!p->part[AWQ_SCALES])
		return err_set(o->o->err, -EBADMSG, "%s: tensor %.200s has no .scales beside it; fetch the model again",
		    opening_file(o->o, w), w->name);
	return opening_bad_tensor(o->o, w,
	    o->config.gemv ? "AWQ's I32 [out_features, in_features / 8], as the configuration says gemv"
			   : "AWQ's I32 [in_features, out_features / 8] or I16 [out_features / 4, in_features] beside "
			     "scales [groups, out_features], as the configuration says awq");
}

static int open_awq(struct awq_opener *o, struct awq_module *m)
{
	static const struct encoding *const encodings[] = {
	    [AWQ_GEMM] = &awq_gemm_encoding, [AWQ_GEMV] = &awq_gemv_encoding, [AWQ_GEMV_FAST] = &awq_fast_encoding};
	struct checkpoint *c = o->o->c;
	struct awq_tensor *t = &m->t;
	int rc = check_parts(o, m);

	if (rc == 0)
		rc = measure(o, m);
	if (rc == 0)
		rc = awq_find_group_size(o, m);
	if (rc)
		return rc;
	m->e.transposed = architecture_keeps_orientation(o->o->architecture, &o->o->tables,
	    (struct linear){m->e.module, t->in_features, t->out_features});
	if (m->e.transposed && t->out_features > IN_FEATURES_MAX)
		return opening_bad_tensor(o->o, m->e.part[AWQ_QWEIGHT], "rows of at most 4194304 elements");
	t->qweight = checkpoint_data(c, m->e.part[AWQ_QWEIGHT]);
	t->qzeros = m->e.part[AWQ_QZEROS] ? checkpoint_data(c, m->e.part[AWQ_QZEROS]) : NULL;
	t->scales = checkpoint_data(c, m->e.part[AWQ_SCALES]);
	m->e.encoding = encodings[t->layout];
	return check_awq_zeros(o, m);
}

static int add_awq(struct awq_opener *o, const struct awq_parts *p)
{
	struct awq_module *m = arena_alloc(&o->o->c->arena, 1, sizeof(*m));
	int rc;

	if (!m)
		return err_memory(o->o->err);
	m->e.module = opening_module(o->o, p->part[AWQ_QWEIGHT], ".qweight");
	if (!m->e.module)
		return err_memory(o->o->err);
	for (size_t part = AWQ_QWEIGHT; part <= AWQ_SCALES; part++)
		opening_part(o->o, &m->e, part, p->part[part]);
	m->t.layout = p->layout;
	rc = open_awq(o, m);
	return rc ? rc : opening_add_matrix(o->o, &m->e, m->t.out_features, m->t.in_features);
}

static int open_qweight(struct awq_opener *o, const struct st_tensor *t)
{
	const struct awq_parts p = find_awq_parts(o, t);

	if (p.layout == AWQ_LAYOUTS)
		return o->config.file ? refuse_shapes(o, &p) : 0;
	return add_awq(o, &p);
}

/* A module that lost its codes would otherwise vanish silently. */
static int check_awq_orphan(const struct awq_opener *o, const struct st_tensor *t)
{
	if (!ends_with(t->name, ".qzeros") || opening_beside(o->o, t, ".qzeros", ".qweight"))
		return 0;
	return err_set(o->o->err, -EBADMSG, "%s: tensor %.200s has no .qweight beside it; fetch the model again",
	    opening_file(o->o, t), t->name);
}

/* Scales of an activation (starcoder2, falcon, mpt, ...): stock classes do not divide by them. */
static int refuse_activation(const struct awq_opener *o, const struct st_tensor *t)
{
	if (t->ndim != 1 || !ends_with(t->name, ".scales") || opening_beside(o->o, t, ".scales", ".weight"))
		return 0;
	return err_set(o->o->err, -ENOTSUP,
	    "%s: tensor %.200s scales an activation, by which AWQ's runtime divides and an ordinary model does not; "
	    "fetch a version quantized without it",
	    opening_file(o->o, t), t->name);
}

static int awq_open(struct opening *opening)
{
	struct checkpoint *c = opening->c;
	struct awq_opener o = {.o = opening};
	const size_t others = opening->out->encoded_count;
	int rc = opening_configs(opening, read_awq_config, &o);

	for (size_t i = 0; rc == 0 && i < c->tensor_count; i++) {
		if (ends_with(c->tensors[i].name, ".qweight") && !opening->taken[i])
			rc = open_qweight(&o, &c->tensors[i]);
		else if (o.config.file)
			rc = check_awq_orphan(&o, &c->tensors[i]);
	}
	if (rc || opening->out->encoded_count == others)
		return rc;
	for (size_t i = 0; rc == 0 && i < c->tensor_count; i++)
		if (!opening->taken[i])
			rc = refuse_activation(&o, &c->tensors[i]);
	if (!opening->out->labels.configuration)
		opening->out->labels =
		    (struct tensors_labels){o.config.file, o.config.version, o.config.producer, o.config.group_size};
	return rc;
}

const struct family awq_family = {"AWQ", awq_claims, awq_open};
