/* SPDX-License-Identifier: MIT */

/*
 * HQQ as transformers 4.4x to 4.57 saves it: X.W_q beside X.scale and X.zero, and X.shape, X.packing and more, which
 * are settings in the form of tensors. They give the layout of codes, so they are read; configurations say less. hqq's
 * own files are pickles. Sources: hqq's quantize.py and bitpack.py, transformers' quantizer_hqq.py.
 */

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/err.h"
#include "kernel/element.h"
#include "quant/family.h"
#include "quant/matrix_rows.h"

enum hqq_part { HQQ_CODES, HQQ_SCALE, HQQ_ZERO };

static const char *const suffixes[] = {".W_q", ".scale", ".zero", NULL};

/* Settings; no class knows any of them. */
static const char *const settings[] = {".shape", ".nbits", ".group_size", ".axis", ".packing", ".compute_dtype",
    ".unpack_view_dtype", ".view_as_float", ".channel_wise", ".optimize", ".round_zero", ".quant_scale", ".quant_zero",
    ".offload_meta", ".stores_quant_config", ".encoded_state_dict"};

static const struct hqq_packing {
	const char *name;
	uint8_t bits, lanes, word_bytes;
	enum dtype dtype;
} packings[] = {
    {"8bit_u8", 8, 1, 1, DTYPE_U8},
    {"4bit_u8", 4, 2, 1, DTYPE_U8},
    {"3bit_32", 3, 10, 4, DTYPE_I32},
    {"2bit_u8", 2, 4, 1, DTYPE_U8},
    {"1bit_u8", 1, 8, 1, DTYPE_U8},
};

#define PACKING_BYTES 16

struct hqq_module {
	struct encoded e; /* first */
	struct hqq_tensor t;
	uint32_t bits; /* the quantizer's: 5 and 6 are stored as bytes */
	uint64_t groups;
};

struct hqq_opener {
	struct opening *o;
	struct hqq_module *m;
	const struct st_tensor *codes;
	const struct hqq_packing *packing;
	uint64_t shape[2];
};

static const struct hqq_module *hqq_module_of(const struct encoded *e)
{
	return (const struct hqq_module *)e;
}

/* ---- rows ---- */

static void hqq_fill(const struct matrix_part *p, void *dst)
{
	p->kernels->hqq.rows[p->out](dst, &hqq_module_of(p->e)->t, &p->rect);
}

/* Rows of the grid that share a slice are one after another; others are far apart. */
static void hqq_needs(const struct matrix_part *p, const struct inputs *in, struct spans *out)
{
	const struct hqq_tensor *t = &hqq_module_of(p->e)->t;
	const struct kernel_rect *r = &p->rect;
	const uint64_t begin = (uint64_t)r->row0 * t->columns, end = begin + (uint64_t)r->rows * t->columns;
	const uint64_t first = begin / t->width, last = (end - 1) / t->width, row_bytes = t->width * t->word_bytes;
	const bool one = first / t->slice == last / t->slice;

	inputs_add_span(in, t->scales, p->e->part[HQQ_SCALE]->bytes, out);
	inputs_add_span(in, t->zeros, p->e->part[HQQ_ZERO]->bytes, out);
	inputs_add_span(in, t->codes + (one ? first % t->slice * row_bytes : 0),
	    one ? (last - first + 1) * row_bytes : p->e->part[HQQ_CODES]->bytes, out);
}

static const struct matrix_ops hqq_matrix = {hqq_fill, hqq_needs, .cut = MATRIX_CUT};

/* ---- telling ---- */

static uint64_t hqq_group_size(const struct hqq_module *m)
{
	return (uint64_t)m->t.rows * m->t.columns / m->groups;
}

static void hqq_describe(const struct encoded *e, struct facts *out)
{
	const struct hqq_module *m = hqq_module_of(e);

	facts_number(out, "bits", m->bits);
	facts_number(out, "group_size", hqq_group_size(m));
	facts_number(out, "groups", m->groups);
	facts_number(out, "axis", !m->t.by_columns);
	facts_truth(out, "symmetric", false);
	facts_word(out, "scale_dtype", dtype_name(m->t.param_dtype));
}

static void hqq_summarize(const struct encoded *e, struct text *out)
{
	const struct hqq_module *m = hqq_module_of(e);

	text_printf(out, "%u-bit, group size %llu along axis %d, %s zeros", m->bits,
	    (unsigned long long)hqq_group_size(m), !m->t.by_columns, dtype_name(m->t.param_dtype));
}

static const struct finding zeros_not_finite = {.key = "Zeros_not_finite", .remark = true};

static void hqq_examine(const struct encoded *e, struct findings *out)
{
	const struct hqq_module *m = hqq_module_of(e);
	struct scale_counts scales = {0}, zeros = {0};

	scale_count_all(&scales, m->t.scales, m->groups, m->t.param_dtype);
	scale_count_all(&zeros, m->t.zeros, m->groups, m->t.param_dtype);
	findings_add_scales(out, &scales);
	findings_add(out, &zeros_not_finite, zeros.not_finite);
}

/* ---- lines ---- */

static void hqq_lines(const struct encoded *e, const struct code_rect *r, const struct lines *out)
{
	const struct hqq_tensor *t = &hqq_module_of(e)->t;
	size_t i = 0;

	for (uint32_t n = (uint32_t)r->row0; n < r->row0 + r->rows; n++)
		for (uint32_t k = (uint32_t)r->column0; k < r->column0 + r->columns; k++, i++) {
			const size_t group = hqq_group_of(t, n, k);
			const float scale = element_load(t->scales, group, t->param_dtype);

			if (out->code)
				out->code[i] = (uint8_t)hqq_code(t, n, k);
			if (out->scale)
				out->scale[i] = scale;
			if (out->bias)
				out->bias[i] = scale * -element_load(t->zeros, group, t->param_dtype);
		}
}

/*
 * Weight and line are the same real number, rounded once, if code - zero is exact for all codes, scale * code too, and
 * scale * zero. Multiples of 2^-40 that are not large take all of these differences and products exactly as doubles;
 * code - zero has the lowest bit of zero, so it is exact for all codes if it is for the last.
 */
static bool hqq_is_line(double scale, double zero, unsigned bits)
{
	const double last = (double)((1u << bits) - 1) - zero, bias = scale * -zero;

	return mlx_is_exact((float)scale) && fabs(zero) < 256 && zero * 0x1p40 == trunc(zero * 0x1p40) &&
	       (float)last == last && (float)bias == bias;
}

static uint32_t hqq_run(const struct hqq_tensor *t)
{
	uint64_t common = t->width % t->columns == 0 ? t->columns : t->width;

	while (common % 2 == 0 && t->columns % common)
		common /= 2;
	return t->by_columns || t->columns % common ? 1 : code_levels_run(t->columns, common, NULL);
}

static bool hqq_line_levels(const struct encoded *e, struct code_levels *out)
{
	const struct hqq_tensor *t = &hqq_module_of(e)->t;
	const uint32_t run = hqq_run(t);
	bool exact = true;

	*out = code_levels_begin(t->bits, run, 0);
	for (uint32_t n = 0; run > 1 && n < t->rows; n++)
		for (uint32_t k = 0; k < t->columns; k += run) {
			const size_t group = hqq_group_of(t, n, k);

			exact &= hqq_is_line(element_load(t->scales, group, t->param_dtype),
			    element_load(t->zeros, group, t->param_dtype), t->bits);
		}
	return exact;
}

static const struct encoding hqq_encoding = {
    .name = "HQQ",
    .suffixes = suffixes,
    .rows = matrix_rows,
    .matrix = &hqq_matrix,
    .lines = hqq_lines,
    .line_levels = hqq_line_levels,
    .describe = hqq_describe,
    .summarize = hqq_summarize,
    .examine = hqq_examine,
};

/* ---- settings ---- */

static bool hqq_is_codes(const struct opening *o, const struct st_tensor *t)
{
	(void)o;
	return ends_with(t->name, ".W_q");
}

static bool hqq_claims(const struct opening *o)
{
	return opening_has(o, hqq_is_codes);
}

static int hqq_missing(const struct hqq_opener *h, const char *what)
{
	return err_set(h->o->err, -ENOTSUP,
	    "%s: tensor %.200s%s is missing: this is not HQQ as transformers saves it; fetch the model again, or save "
	    "it with transformers 4.57",
	    opening_file(h->o, h->codes), h->m->e.module, what);
}

/* Reads up to `max` whole numbers of a setting; *count is 0 if it is absent. */
static int read_numbers(const struct hqq_opener *h, const char *key, int64_t *out, size_t max, size_t *count)
{
	const struct st_tensor *t = opening_find(h->o, h->m->e.module, key);
	void *data;
	int rc;

	*count = 0;
	if (!t)
		return 0;
	if ((t->dtype != DTYPE_I64 && t->dtype != DTYPE_I32 && t->dtype != DTYPE_U8 && t->dtype != DTYPE_F32) ||
	    t->ndim > 1 || t->bytes != max * dtype_bytes(t->dtype))
		return opening_bad_tensor(h->o, t, max == 1 ? "one number" : "I64 [2]");
	rc = opening_read(h->o, t, t->bytes, &data);
	for (size_t i = 0; rc == 0 && i < max; i++) {
		uint64_t bits = 0;

		memcpy(&bits, (const char *)data + i * dtype_bytes(t->dtype), dtype_bytes(t->dtype));
		out[i] = t->dtype == DTYPE_I32 ? (int32_t)bits : (int64_t)bits;
		if (t->dtype == DTYPE_F32) {
			const float value = element_load(&bits, 0, DTYPE_F32);

			out[i] = value > 0 && value <= 8 ? (int64_t)ceilf(value) : -1;
		}
	}
	free(data);
	*count = rc ? 0 : max;
	return rc;
}

/* One number, or `fallback` where there is none. */
static int read_setting(const struct hqq_opener *h, const char *key, int64_t fallback, int64_t *out)
{
	size_t count;
	int rc = read_numbers(h, key, out, 1, &count);

	if (rc == 0 && !count)
		*out = fallback;
	return rc;
}

static int refuse_setting(const struct hqq_opener *h, const char *key, int64_t value, int64_t expected)
{
	return err_set(h->o->err, -ENOTSUP,
	    "%s: tensor %.200s%s is %lld, which is not supported (expected %lld); fetch a version that is quantized "
	    "differently",
	    opening_file(h->o, h->codes), h->m->e.module, key, (long long)value, (long long)expected);
}

/* Settings that would add tensors or change the meaning of others. */
static int check_settings(const struct hqq_opener *h)
{
	static const struct {
		const char *key;
		int64_t expected;
	} fixed[] = {{".channel_wise", 1}, {".quant_scale", 0}, {".quant_zero", 0}};
	int rc = 0;

	if (!opening_find(h->o, h->m->e.module, ".encoded_state_dict"))
		return hqq_missing(h, ".encoded_state_dict");
	for (size_t i = 0; rc == 0 && i < sizeof(fixed) / sizeof(*fixed); i++) {
		int64_t value;

		rc = read_setting(h, fixed[i].key, fixed[i].expected, &value);
		if (rc == 0 && value != fixed[i].expected)
			rc = refuse_setting(h, fixed[i].key, value, fixed[i].expected);
	}
	return rc;
}

static int read_packing(struct hqq_opener *h)
{
	const struct st_tensor *t = opening_find(h->o, h->m->e.module, ".packing");
	void *text;
	int rc;

	if (!t)
		return hqq_missing(h, ".packing");
	if (t->dtype != DTYPE_U8 || t->bytes > PACKING_BYTES)
		return opening_bad_tensor(h->o, t, "a short text in bytes");
	rc = opening_read(h->o, t, t->bytes, &text);
	for (size_t i = 0; rc == 0 && i < sizeof(packings) / sizeof(*packings); i++)
		if (strlen(packings[i].name) == t->bytes && memcmp(packings[i].name, text, t->bytes) == 0)
			h->packing = &packings[i];
	free(text);
	if (rc == 0 && !h->packing)
		rc = err_set(h->o->err, -ENOTSUP,
		    "%s: tensor %.200s names an unknown packing (expected 8bit_u8, 4bit_u8, 3bit_32, 2bit_u8 "
		    "or 1bit_u8); fetch another version of the model",
		    opening_file(h->o, t), t->name);
	return rc;
}

/* ---- sizes ---- */

static int hqq_read_shape(struct hqq_opener *h)
{
	int64_t shape[2], axis, bits;
	size_t count;
	int rc = read_numbers(h, ".shape", shape, 2, &count);

	if (rc)
		return rc;
	if (!count)
		return hqq_missing(h, ".shape");
	if (shape[0] < 1 || shape[1] < 1 || (uint64_t)shape[0] > MATRIX_ROWS_MAX ||
	    (uint64_t)shape[1] > MATRIX_COLUMNS_MAX)
		return err_set(h->o->err, -EBADMSG,
		    "%s: tensor %.200s.shape is [%lld, %lld], expected [out_features, in_features], at most [2147483648, "
		    "4194304]; fetch the model again",
		    opening_file(h->o, h->codes), h->m->e.module, (long long)shape[0], (long long)shape[1]);
	rc = read_setting(h, ".axis", -1, &axis);
	if (rc == 0 && axis != 0 && axis != 1)
		rc = axis == -1 ? hqq_missing(h, ".axis") : refuse_setting(h, ".axis", axis, 1);
	if (rc == 0)
		rc = read_setting(h, ".nbits", h->packing->bits, &bits);
	if (rc)
		return rc;
	h->m->t.rows = (uint32_t)(h->shape[0] = (uint64_t)shape[0]);
	h->m->t.columns = (uint32_t)(h->shape[1] = (uint64_t)shape[1]);
	h->m->t.by_columns = axis == 0;
	h->m->bits = bits >= 1 && bits <= 8 ? (uint32_t)bits : h->packing->bits;
	return 0;
}

static int check_params(struct hqq_opener *h)
{
	const struct st_tensor *s = h->m->e.part[HQQ_SCALE], *z = h->m->e.part[HQQ_ZERO];
	const uint64_t elements = h->shape[0] * h->shape[1];
	const int along = h->m->t.by_columns;

	if (!s || !z)
		return hqq_missing(h, s ? ".zero" : ".scale");
	if (!dtype_is_view(s->dtype))
		return opening_bad_tensor(h->o, s, "F16, BF16 or F32");
	if (s->ndim != 2 || s->shape[!along] != 1 || !s->shape[along] || elements % s->shape[along])
		return opening_bad_tensor(h->o, s,
		    along ? "[1, groups], of as many elements each" : "[groups, 1], of as many elements each");
	if (z->ndim != 2 || z->dtype != s->dtype || z->shape[0] != s->shape[0] || z->shape[1] != s->shape[1])
		return opening_bad_tensor(h->o, z, "a zero for each scale, of its type");
	h->m->groups = s->shape[along];
	h->m->t.width = along ? h->m->groups : elements / h->m->groups;
	h->m->t.param_dtype = s->dtype;
	return 0;
}

/* Codes viewed as floats have their type and width, but the same bytes. */
static int hqq_check_codes(struct hqq_opener *h)
{
	struct hqq_tensor *t = &h->m->t;
	const struct hqq_packing *p = h->packing;
	const uint64_t grid_rows = h->shape[0] * h->shape[1] / t->width;
	int64_t as_float;
	int rc = read_setting(h, ".view_as_float", 0, &as_float);

	if (rc)
		return rc;
	t->slice = div_up(grid_rows, p->lanes);
	if ((as_float != 1 && h->codes->dtype != p->dtype) || h->codes->bytes % t->width ||
	    h->codes->bytes / t->width != t->slice * p->word_bytes || (p->lanes != 10 && grid_rows % p->lanes))
		return opening_bad_tensor(h->o, h->codes,
		    "the codes of all elements that .shape, .packing and .scale say");
	t->bits = p->bits;
	t->lanes = p->lanes;
	t->word_bytes = p->word_bytes;
	return 0;
}

/* ---- modules ---- */

static int measure_hqq(struct hqq_opener *h)
{
	int rc = opening_check_weight(h->o, h->codes, ".W_q");

	if (rc == 0)
		rc = check_settings(h);
	if (rc == 0)
		rc = read_packing(h);
	if (rc == 0)
		rc = hqq_read_shape(h);
	if (rc == 0)
		rc = check_params(h);
	return rc ? rc : hqq_check_codes(h);
}

static int add_hqq(struct opening *o, const struct st_tensor *codes)
{
	struct checkpoint *c = o->c;
	struct hqq_module *m = arena_alloc(&c->arena, 1, sizeof(*m));
	struct hqq_opener h = {.o = o, .m = m, .codes = codes};
	int rc;

	if (!m)
		return err_memory(o->err);
	m->e.encoding = &hqq_encoding;
	m->e.module = opening_module(o, codes, ".W_q");
	if (!m->e.module)
		return err_memory(o->err);
	for (size_t part = HQQ_CODES; part <= HQQ_ZERO; part++)
		opening_part(o, &m->e, part, opening_find(o, m->e.module, suffixes[part]));
	rc = measure_hqq(&h);
	if (rc)
		return rc;
	m->t.codes = checkpoint_data(c, codes);
	m->t.scales = checkpoint_data(c, m->e.part[HQQ_SCALE]);
	m->t.zeros = checkpoint_data(c, m->e.part[HQQ_ZERO]);
	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++) {
		const struct st_tensor *t = opening_find(o, m->e.module, settings[i]);

		if (t)
			opening_take(o, t);
	}
	return opening_add_matrix(o, &m->e, h.shape[0], h.shape[1]);
}

static int hqq_open(struct opening *o)
{
	int rc = opening_configs(o, opening_label, o);

	for (size_t i = 0; rc == 0 && i < o->c->tensor_count; i++)
		if (ends_with(o->c->tensors[i].name, ".W_q") && !o->taken[i])
			rc = add_hqq(o, &o->c->tensors[i]);
	return rc;
}

const struct family hqq_family = {"HQQ", hqq_claims, hqq_open};
