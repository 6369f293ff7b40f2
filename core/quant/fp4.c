/* SPDX-License-Identifier: MIT */

/*
 * MXFP4, MXFP6 and NVFP4: codes of 4 or 6 bits, and a scale for each 32 (E8M0) or 16 (E4M3) of them along a row. Names,
 * types and shapes show what a module is:
 *
 *     P_blocks, P_scales                                        MXFP4 of gpt-oss: all experts, P is transposed
 *     M.weight_packed, M.weight_scale                           MXFP4 or MXFP6 of compressed-tensors
 *     M.weight_packed, M.weight_scale, M.weight_global_scale    NVFP4 of compressed-tensors, which divides
 *     M.weight U8, M.weight_scale                               MXFP4 of ModelOpt and Quark
 *     M.weight U8, M.weight_scale, M.weight_scale_2             NVFP4 of ModelOpt, which multiplies
 *     M.weight I8, M.scale F8_E8M0                              MXFP4 of DeepSeek-V4's experts
 *
 * Sources: transformers' mxfp4.py, compressed-tensors' fp4_quantized.py and mxfp6_quantized.py, modelopt's
 * nvfp4_tensor.py and mxfp4_tensor.py, OCP's Microscaling specification.
 */

#include <errno.h>
#include <math.h>
#include <string.h>

#include "base/err.h"
#include "kernel/element.h"
#include "quant/family.h"
#include "quant/gptq/config.h"
#include "quant/matrix_rows.h"

/* Names of weights within their modules: models have some ten. */
#define FP4_SEEN_MAX 32

enum fp4_part { FP4_CODES, FP4_SCALES, FP4_GLOBAL };

static const char *const fp4_suffixes[] = {".weight", ".scale", ".global_scale", NULL};

struct fp4_module {
	struct encoded e;    /* first */
	struct fp4_tensor t; /* one matrix; of a stack the first */
	uint64_t shape[3];   /* as served */
};

/* The stored tensors of a module. */
struct fp4_stored {
	const struct st_tensor *codes, *scales, *global;
	const char *suffix; /* of the codes */
	bool divide;
};

static const struct fp4_module *fp4_module_of(const struct encoded *e)
{
	return (const struct fp4_module *)e;
}

/* ---- rows ---- */

static uint64_t fp4_code_bytes(const struct fp4_tensor *t, uint64_t rows)
{
	return rows * (t->columns / 8 * dtype_bits(t->code_dtype));
}

static uint64_t fp4_scale_bytes(const struct fp4_tensor *t, uint64_t rows)
{
	return rows * (t->columns / t->group);
}

/* One matrix of a stack. */
static struct fp4_tensor fp4_expert(const struct encoded *e, uint64_t expert)
{
	struct fp4_tensor t = fp4_module_of(e)->t;

	t.codes += expert * fp4_code_bytes(&t, t.rows);
	t.scales += expert * fp4_scale_bytes(&t, t.rows);
	return t;
}

static void fp4_fill(const struct matrix_part *p, void *dst)
{
	const struct fp4_tensor t = fp4_expert(p->e, p->matrix);

	p->kernels->fp4.rows[p->out](dst, &t, &p->rect);
}

static void fp4_needs(const struct matrix_part *p, const struct inputs *in, struct spans *out)
{
	const struct kernel_rect *r = &p->rect;
	const struct fp4_tensor t = fp4_expert(p->e, p->matrix);

	inputs_add_span(in, t.codes + fp4_code_bytes(&t, r->row0), fp4_code_bytes(&t, r->rows), out);
	inputs_add_span(in, t.scales + fp4_scale_bytes(&t, r->row0), fp4_scale_bytes(&t, r->rows), out);
}

static void fp4_fill_transposed(const struct matrix_part *p, void *dst)
{
	const struct fp4_tensor t = fp4_expert(p->e, p->matrix);

	p->kernels->fp4.transposed[p->out](dst, &t, &p->rect);
}

/* Any row takes a code of every stored row. */
static void fp4_needs_transposed(const struct matrix_part *p, const struct inputs *in, struct spans *out)
{
	const struct fp4_tensor t = fp4_expert(p->e, p->matrix);

	inputs_add_span(in, t.codes, fp4_code_bytes(&t, t.rows), out);
	inputs_add_span(in, t.scales, fp4_scale_bytes(&t, t.rows), out);
}

static const struct matrix_ops fp4_matrix = {fp4_fill, fp4_needs, .cut = MATRIX_CUT};
static const struct matrix_ops fp4_transposed_matrix = {
    fp4_fill_transposed, fp4_needs_transposed, .cut = MATRIX_CUT, .transposed = true};

/* ---- telling ---- */

static void fp4_describe(const struct encoded *e, struct facts *out)
{
	const struct fp4_tensor *t = &fp4_module_of(e)->t;

	facts_number(out, "bits", dtype_bits(t->code_dtype));
	facts_number(out, "group_size", t->group);
	facts_word(out, "scale_dtype", dtype_name(t->scale_dtype));
	if (t->global)
		facts_word(out, "global_scale", t->divide ? "divides" : "multiplies");
}

static void fp4_summarize(const struct encoded *e, struct text *out)
{
	const struct fp4_tensor *t = &fp4_module_of(e)->t;

	text_printf(out, "%s, a %s scale for each %u", e->encoding->name, dtype_name(t->scale_dtype), t->group);
}

static void fp4_examine(const struct encoded *e, struct findings *out)
{
	const struct fp4_tensor *t = &fp4_module_of(e)->t;
	struct scale_counts scales = {0};

	scale_count_all(&scales, t->scales, e->part[FP4_SCALES]->bytes, t->scale_dtype);
	scales.not_finite += t->global && !isfinite(element_load(t->global, 0, DTYPE_F32));
	findings_add_scales(out, &scales);
}

/* A sign and a magnitude, all finite. */
static struct stored_codes fp4_stored_codes(const struct encoded *e)
{
	const unsigned sign = 1u << (dtype_bits(fp4_module_of(e)->t.code_dtype) - 1);

	return (struct stored_codes){.lowest = (uint8_t)(2 * sign - 1), .highest = (uint8_t)(sign - 1)};
}

#define FP4_ENCODING(label, ops)                                                                        \
	{                                                                                               \
		.name = label, .suffixes = fp4_suffixes, .rows = matrix_rows, .matrix = &ops,           \
		.stored_codes = fp4_stored_codes, .describe = fp4_describe, .summarize = fp4_summarize, \
		.examine = fp4_examine,                                                                 \
	}

static const struct encoding mxfp4_encoding = FP4_ENCODING("MXFP4", fp4_matrix),
			     mxfp4_transposed_encoding = FP4_ENCODING("MXFP4", fp4_transposed_matrix),
			     mxfp6_encoding = FP4_ENCODING("MXFP6", fp4_matrix),
			     nvfp4_encoding = FP4_ENCODING("NVFP4", fp4_matrix);

/* ---- which tensors ---- */

static bool is_exponent(const struct st_tensor *t)
{
	return t->dtype == DTYPE_U8 || t->dtype == DTYPE_F8_E8M0;
}

/* Tensors of the module that the codes belong to, whose name ends so. */
static struct fp4_stored fp4_beside(const struct opening *o, const struct st_tensor *codes, const char *own,
    const char *scales, const char *global)
{
	return (struct fp4_stored){.codes = codes,
	    .suffix = own,
	    .scales = opening_beside(o, codes, own, scales),
	    .global = global ? opening_beside(o, codes, own, global) : NULL};
}

/* True if the tensor is codes of this family. Its other tensors may be missing or of the wrong shape. */
static bool fp4_find(const struct opening *o, const struct st_tensor *t, struct fp4_stored *s)
{
	if (t->dtype == DTYPE_I8) {
		*s = fp4_beside(o, t, ".weight", ".scale", NULL);
		return s->scales && s->scales->dtype == DTYPE_F8_E8M0;
	}
	if (t->dtype != DTYPE_U8)
		return false;
	if (ends_with(t->name, ".weight_packed")) {
		*s = fp4_beside(o, t, ".weight_packed", ".weight_scale", ".weight_global_scale");
		s->divide = true;
		return true;
	}
	if (ends_with(t->name, ".weight")) {
		*s = fp4_beside(o, t, ".weight", ".weight_scale", ".weight_scale_2");
		return s->scales && (is_exponent(s->scales) || s->scales->dtype == DTYPE_F8_E4M3);
	}
	*s = fp4_beside(o, t, "_blocks", "_scales", NULL);
	return ends_with(t->name, "_blocks") && (s->scales || t->ndim == 4);
}

static bool is_fp4(const struct opening *o, const struct st_tensor *t)
{
	struct fp4_stored s;

	return fp4_find(o, t, &s);
}

static bool fp4_claims(const struct opening *o)
{
	return opening_has(o, is_fp4);
}

/* ---- modules ---- */

static bool is_stack(const struct fp4_stored *s)
{
	return s->suffix[0] == '_';
}

static int fp4_missing(const struct opening *o, const struct fp4_stored *s, const char *what)
{
	return err_set(o->err, -EBADMSG,
	    "%s: tensor %.200s has no %s beside it; fetch the model again, or its unquantized version",
	    opening_file(o, s->codes), s->codes->name, what);
}

/* The type of the scales distinguishes NVFP4 from the MX formats, and only NVFP4 has a global scale. */
static int check_scales(struct opening *o, const struct fp4_stored *s, struct fp4_tensor *t)
{
	const bool mx = s->scales && is_exponent(s->scales), packed = strcmp(s->suffix, ".weight_packed") == 0;

	if (!s->scales)
		return fp4_missing(o, s, is_stack(s) ? "_scales" : ".weight_scale");
	if ((mx && s->global) || (is_stack(s) && !mx))
		return opening_bad_tensor(o, s->scales,
		    is_stack(s) ? "scales of type U8 or F8_E8M0" : "scales of type F8_E4M3 beside a global scale");
	if (!mx && s->scales->dtype != DTYPE_F8_E4M3)
		return opening_bad_tensor(o, s->scales, "scales of type F8_E4M3, U8 or F8_E8M0");
	if (!mx && !s->global)
		return fp4_missing(o, s, packed ? ".weight_global_scale" : ".weight_scale_2");
	if (s->global && (s->global->dtype != DTYPE_F32 || s->global->bytes != sizeof(float)))
		return opening_bad_tensor(o, s->global, "one F32");
	t->scale_dtype = mx ? DTYPE_F8_E8M0 : DTYPE_F8_E4M3;
	t->group = mx ? 32 : 16;
	t->divide = s->divide;
	return 0;
}

/*
 * Rows are whole groups, so the bytes of a group give the width of codes. Scales in any other number, such as those
 * that TensorRT-LLM pads and swizzles, are refused.
 */
static int fp4_check_shapes(struct opening *o, const struct fp4_stored *s, struct fp4_tensor *t)
{
	const struct st_tensor *codes = s->codes, *scales = s->scales;
	const int stacked = is_stack(s) ? 1 : 0, ndim = 2 + stacked;
	const uint64_t *d = codes->shape + stacked, *g = scales->shape + stacked;
	uint64_t width; /* bytes of a group */

	if (codes->ndim != 2 * ndim - 2 || !codes->bytes)
		return opening_bad_tensor(o, codes,
		    stacked ? "[experts, out_features, groups, 16]" : "[out_features, bytes of a row]");
	if (scales->ndim != ndim || !scales->bytes)
		return opening_bad_tensor(o, scales,
		    stacked ? "[experts, out_features, groups]" : "[out_features, groups]");
	width = stacked ? d[2] : d[1] / g[1];
	if ((stacked && g[-1] != d[-1]) || g[0] != d[0] || g[1] * (stacked ? 1 : width) != d[1])
		return opening_bad_tensor(o, scales, "a scale for each group of a row, and not one more");
	if (width == t->group / 8 * 6 && strcmp(s->suffix, ".weight_packed") == 0 && !s->global)
		t->code_dtype = DTYPE_F6_E2M3;
	else if (width == t->group / 2)
		t->code_dtype = DTYPE_F4;
	else
		return opening_bad_tensor(o, scales,
		    t->group == 16 ? "a scale for each 16 codes" : "a scale for each 32 codes");
	t->rows = (uint32_t)d[0];
	t->columns = (uint32_t)g[1] * t->group;
	return opening_check_size(o, codes, d[0], g[1] > MATRIX_COLUMNS_MAX ? g[1] : g[1] * t->group);
}

static const struct encoding *fp4_encoding_of(const struct fp4_tensor *t, bool transposed)
{
	if (transposed)
		return &mxfp4_transposed_encoding;
	if (t->code_dtype == DTYPE_F6_E2M3)
		return &mxfp6_encoding;
	return t->global ? &nvfp4_encoding : &mxfp4_encoding;
}

static void fp4_set_shape(struct fp4_module *m, const struct fp4_stored *s)
{
	const bool stacked = is_stack(s);

	m->shape[0] = stacked ? s->codes->shape[0] : m->t.rows;
	m->shape[1] = m->t.columns;
	m->shape[2] = m->t.rows;
	m->e.shape = m->e.transposed && !stacked ? m->shape + 1 : m->shape;
	m->e.ndim = stacked ? 3 : 2;
}

/* Returns the class's name of the weight, in the arena. */
static const char *fp4_name(const struct opening *o, const struct fp4_stored *s, const char *module)
{
	if (is_stack(s))
		return module;
	return strcmp(s->suffix, ".weight") == 0 ? s->codes->name : arena_printf(&o->c->arena, "%s.weight", module);
}

static int add_fp4(struct opening *o, const struct fp4_stored *s)
{
	struct checkpoint *c = o->c;
	struct fp4_module *m = arena_alloc(&c->arena, 1, sizeof(*m));
	const struct st_tensor *const parts[] = {s->codes, s->scales, s->global};
	int rc;

	if (!m)
		return err_memory(o->err);
	rc = check_scales(o, s, &m->t);
	if (rc == 0)
		rc = fp4_check_shapes(o, s, &m->t);
	if (rc)
		return rc;
	m->t.codes = checkpoint_data(c, s->codes);
	m->t.scales = checkpoint_data(c, s->scales);
	m->t.global = s->global ? checkpoint_data(c, s->global) : NULL;
	m->e.encoding = fp4_encoding_of(&m->t, is_stack(s));
	m->e.module = opening_module(o, s->codes, s->suffix);
	if (!m->e.module)
		return err_memory(o->err);
	m->e.transposed =
	    is_stack(s) || (strcmp(s->suffix, ".weight_packed") == 0 && quant_method_turns_conv1d(o, m->e.module));
	if (m->e.transposed && m->t.rows > MATRIX_COLUMNS_MAX)
		return opening_bad_tensor(o, s->codes, "at most 4194304 rows, which are columns as served");
	fp4_set_shape(m, s);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		opening_part(o, &m->e, i, parts[i]);
	rc = opening_drop_zeros(o, m->e.module);
	if (rc == 0)
		rc = opening_drop_order(o, m->e.module, m->t.columns, m->t.group);
	return rc ? rc : opening_add(o, fp4_name(o, s, m->e.module), &m->e);
}

/* The names of this family's M.weight within their modules: "q_proj.weight". */
struct fp4_seen {
	const struct st_tensor *list[FP4_SEEN_MAX];
	size_t count;
};

static const char *fp4_short_name(const struct st_tensor *t)
{
	const char *at = t->name + strlen(t->name) - strlen(".weight");

	while (at > t->name && at[-1] != '.')
		at--;
	return at;
}

static bool fp4_is_seen(const struct fp4_seen *seen, const struct st_tensor *t)
{
	for (size_t i = 0; i < seen->count; i++)
		if (seen->list[i]->dtype == t->dtype && strcmp(fp4_short_name(seen->list[i]), fp4_short_name(t)) == 0)
			return true;
	return false;
}

/* Refuses codes without scales if codes of that name in other modules have theirs: an unfinished download. */
static int refuse_orphan(const struct opening *o, const struct fp4_seen *seen, const struct st_tensor *t)
{
	struct fp4_stored s;

	if ((t->dtype != DTYPE_I8 && t->dtype != DTYPE_U8) || t->ndim != 2 || !ends_with(t->name, ".weight") ||
	    !fp4_is_seen(seen, t))
		return 0;
	/* With type I8 they are another family's integers, whose modules may have the same names. */
	s = fp4_beside(o, t, ".weight", ".weight_scale", NULL);
	if (!s.scales && t->dtype == DTYPE_I8)
		s = fp4_beside(o, t, ".weight", ".scale", NULL);
	return s.scales ? 0 : fp4_missing(o, &s, t->dtype == DTYPE_I8 ? ".scale" : ".weight_scale");
}

/* ---- the configuration ---- */

static bool is_mxint(const struct json *scheme)
{
	const char *type = json_str(json_get(scheme, "data_type"));

	return type && (strcasestr(type, "mx_int") || strcasestr(type, "mxint"));
}

/* AutoRound stores the integers of MXINT4 just as the floats of MXFP4; only a data_type, perhaps of a layer, tells. */
static int read_fp4_config(void *ctx, const char *where, const struct json *config)
{
	struct opening *o = ctx;
	const struct json *layers = json_get(config, "extra_config");
	bool found = is_mxint(config);

	opening_label(o, where, config);
	for (const struct json *layer = json_first(layers); !found && layer; layer = json_after(layer))
		found = is_mxint(layer);
	return found
	           ? err_set(o->err, -ENOTSUP,
			 "%s: data_type is that of MXINT4, which is not supported; fetch the MXFP4 version of the model, "
			 "or one in another format that README lists",
			 where)
	           : 0;
}

static int fp4_open(struct opening *o)
{
	const size_t others = o->out->encoded_count;
	struct fp4_seen seen = {.count = 0};
	int rc = opening_configs(o, read_fp4_config, o);

	for (size_t i = 0; rc == 0 && i < o->c->tensor_count; i++) {
		const struct st_tensor *t = &o->c->tensors[i];
		struct fp4_stored s;

		if (o->taken[i] || !fp4_find(o, t, &s))
			continue;
		rc = add_fp4(o, &s);
		if (strcmp(s.suffix, ".weight") == 0 && seen.count < FP4_SEEN_MAX && !fp4_is_seen(&seen, t))
			seen.list[seen.count++] = t;
	}
	for (size_t i = 0; rc == 0 && seen.count && i < o->c->tensor_count; i++)
		if (!o->taken[i])
			rc = refuse_orphan(o, &seen, &o->c->tensors[i]);
	o->hide_activations |= o->out->encoded_count > others;
	return rc;
}

const struct family fp4_family = {"MXFP4, NVFP4", fp4_claims, fp4_open};
