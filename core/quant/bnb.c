/* SPDX-License-Identifier: MIT */

/*
 * bitsandbytes. 4 bits: a tensor X of any type that holds packed codes, known by X.quant_state.bitsandbytes__nf4 or
 * __fp4, a JSON text that says its shape; with X.absmax, X.quant_map and, with double quantization, X.nested_absmax and
 * X.nested_quant_map. 8 bits: MODULE.weight of type I8 beside MODULE.SCB. Modules that were left out are plain tensors,
 * so the configuration is not needed. Sources: bitsandbytes' functional.py and nn/modules.py, transformers' loader.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/err.h"
#include "base/half.h"
#include "base/json.h"
#include "quant/family.h"
#include "quant/matrix_rows.h"

#define STATE ".quant_state.bitsandbytes__"
#define STATE_BYTES_MAX 4096 /* real ones have 170 */

enum bnb4_part { BNB4_WEIGHT, BNB4_ABSMAX, BNB4_MAP, BNB4_NESTED_ABSMAX, BNB4_NESTED_MAP, BNB4_STATE };
enum bnb8_part { BNB8_WEIGHT, BNB8_SCALE, BNB8_FORMAT };

struct bnb4_module {
	struct encoded e; /* first */
	struct bnb4_tensor t;
	uint64_t count, blocks; /* of weights */
};

struct bnb8_module {
	struct encoded e; /* first */
	struct bnb8_tensor t;
};

static const struct bnb4_module *bnb4_module_of(const struct encoded *e)
{
	return (const struct bnb4_module *)e;
}

static const struct bnb8_module *bnb8_module_of(const struct encoded *e)
{
	return (const struct bnb8_module *)e;
}

/* ---- rows ---- */

/* Matrices of a stack follow one another without a gap, and so do their blocks: only rows of the whole matter. */
static struct kernel_rect bnb4_rect(const struct encoded *e, uint64_t matrix, const struct kernel_rect *r)
{
	struct kernel_rect whole = *r;

	if (e->ndim == 3)
		whole.row0 += (uint32_t)(matrix * e->shape[1]);
	return whole;
}

static void bnb4_fill(const struct matrix_part *p, void *dst)
{
	const struct kernel_rect whole = bnb4_rect(p->e, p->matrix, &p->rect);

	p->kernels->bnb.rows4[p->out](dst, &bnb4_module_of(p->e)->t, &whole);
}

static void bnb4_needs(const struct matrix_part *p, const struct inputs *in, struct spans *out)
{
	const struct kernel_rect *r = &p->rect;
	const struct bnb4_module *m = bnb4_module_of(p->e);
	const struct bnb4_tensor *t = &m->t;
	const uint64_t row0 = bnb4_rect(p->e, p->matrix, r).row0;
	const uint64_t begin = row0 * t->columns, end = begin + (uint64_t)r->rows * t->columns;
	const uint64_t block = begin >> t->block_log2, last = (end - 1) >> t->block_log2;
	const uint64_t width = t->nested_map ? 1 : sizeof(float);

	if (t->nested_map) {
		inputs_add_span(in, t->nested_map, p->e->part[BNB4_NESTED_MAP]->bytes, out);
		inputs_add_span(in, t->nested_absmax, p->e->part[BNB4_NESTED_ABSMAX]->bytes, out);
	}
	inputs_add_span(in, t->absmax + block * width, (last - block + 1) * width, out);
	inputs_add_span(in, t->codes + begin / 2, div_up(end, 2) - begin / 2, out);
}

static const struct matrix_ops bnb4_matrix = {bnb4_fill, bnb4_needs, .cut = MATRIX_CUT};

static void bnb8_fill(const struct matrix_part *p, void *dst)
{
	p->kernels->bnb.rows8[p->out](dst, &bnb8_module_of(p->e)->t, &p->rect);
}

static void bnb8_needs(const struct matrix_part *p, const struct inputs *in, struct spans *out)
{
	const struct kernel_rect *r = &p->rect;
	const struct bnb8_tensor *t = &bnb8_module_of(p->e)->t;

	inputs_add_span(in, t->scales + (uint64_t)r->row0 * sizeof(float), r->rows * sizeof(float), out);
	inputs_add_span(in, t->codes + (uint64_t)r->row0 * t->columns, (uint64_t)r->rows * t->columns, out);
}

static const struct matrix_ops bnb8_matrix = {bnb8_fill, bnb8_needs, .cut = MATRIX_CUT};

/* ---- telling ---- */

static void bnb4_describe(const struct encoded *e, struct facts *out)
{
	const struct bnb4_tensor *t = &bnb4_module_of(e)->t;

	facts_number(out, "bits", 4);
	facts_number(out, "block_size", 1u << t->block_log2);
	facts_truth(out, "double_quantized", t->nested_map != NULL);
	facts_word(out, "storage_dtype", dtype_name(e->part[BNB4_WEIGHT]->dtype));
}

static void bnb4_summarize(const struct encoded *e, struct text *out)
{
	const struct bnb4_tensor *t = &bnb4_module_of(e)->t;

	text_printf(out, "bitsandbytes %s, a %s scale for each %u weights", t->table == bnb_fp4 ? "fp4" : "nf4",
	    t->nested_map ? "double-quantized" : "F32", 1u << t->block_log2);
}

static void bnb4_examine(const struct encoded *e, struct findings *out)
{
	const struct bnb4_module *m = bnb4_module_of(e);
	struct scale_counts scales = {0};

	for (uint64_t i = 0; i < m->blocks; i++)
		scale_count(&scales, bnb4_absmax(&m->t, i));
	findings_add_scales(out, &scales);
}

static void bnb8_describe(const struct encoded *e, struct facts *out)
{
	(void)e;
	facts_number(out, "bits", 8);
}

static void bnb8_summarize(const struct encoded *e, struct text *out)
{
	(void)e;
	text_printf(out, "bitsandbytes int8, a F32 scale for each row");
}

static void bnb8_examine(const struct encoded *e, struct findings *out)
{
	const struct bnb8_tensor *t = &bnb8_module_of(e)->t;
	struct scale_counts scales = {0};

	scale_count_all(&scales, t->scales, t->rows, DTYPE_F32);
	findings_add_scales(out, &scales);
}

static const char *const nf4_suffixes[] = {
    ".weight", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".quant_state.bitsandbytes__nf4", NULL};
static const char *const fp4_suffixes[] = {
    ".weight", ".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", ".quant_state.bitsandbytes__fp4", NULL};
static const char *const int8_suffixes[] = {".weight", ".SCB", ".weight_format", NULL};

static struct stored_codes bnb_nf4_codes(const struct encoded *e)
{
	(void)e;
	return (struct stored_codes){.lowest = 0, .highest = 15};
}

/* In the table 3 is 1, and 11 is -1. */
static struct stored_codes bnb_fp4_codes(const struct encoded *e)
{
	(void)e;
	return (struct stored_codes){.lowest = 11, .highest = 3};
}

static struct stored_codes bnb_int8_codes(const struct encoded *e)
{
	(void)e;
	return (struct stored_codes){.flip = 0x80, .lowest = 0, .highest = 0xff};
}

#define BNB4_ENCODING(label, names, ends)                                                                            \
	{                                                                                                            \
		.name = label, .suffixes = names, .rows = matrix_rows, .matrix = &bnb4_matrix, .stored_codes = ends, \
		.describe = bnb4_describe, .summarize = bnb4_summarize, .examine = bnb4_examine,                     \
	}

static const struct encoding nf4_encoding = BNB4_ENCODING("bnb-nf4", nf4_suffixes, bnb_nf4_codes),
			     fp4_encoding = BNB4_ENCODING("bnb-fp4", fp4_suffixes, bnb_fp4_codes);
static const struct encoding int8_encoding = {
    .name = "bnb-int8",
    .suffixes = int8_suffixes,
    .rows = matrix_rows,
    .matrix = &bnb8_matrix,
    .stored_codes = bnb_int8_codes,
    .describe = bnb8_describe,
    .summarize = bnb8_summarize,
    .examine = bnb8_examine,
};

/* ---- modules of both kinds ---- */

/* Names the module, gives it the shape of what was quantized, transposed for a Conv1D, and adds it. */
static int bnb_add(struct opening *o, const char *name, struct encoded *e, uint64_t *shape)
{
	e->module = name;
	if (ends_with(name, ".weight"))
		e->module = arena_strndup(&o->c->arena, name, strlen(name) - strlen(".weight"));
	if (!e->module)
		return err_memory(o->err);
	e->transposed = e->ndim == 2 && architecture_is_conv1d(o->architecture, e->module);
	if (e->transposed) {
		const uint64_t rows = shape[0];

		shape[0] = shape[1];
		shape[1] = rows;
	}
	if (shape[e->ndim - 1] > MATRIX_COLUMNS_MAX)
		return opening_bad_tensor(o, e->part[0], "at most 4194304 columns");
	e->shape = shape;
	return opening_add(o, name, e);
}

static bool is_array(const struct st_tensor *t, enum dtype dtype, uint64_t length)
{
	return t->dtype == dtype && t->ndim == 1 && t->shape[0] == length;
}

/* ---- quant_state ---- */

/* A 4-bit module while it is opened. */
struct bnb4_opener {
	struct opening *o;
	struct bnb4_module *m;
	const struct st_tensor *state;
	uint64_t *shape;
};

/* Reports a member of the text that is absent or invalid. */
static int bad_state(const struct bnb4_opener *b, const char *expected)
{
	return err_set(b->o->err, -EBADMSG,
	    "%s: the JSON text in tensor %.200s does not fit: expected %s; fetch the model again",
	    opening_file(b->o, b->state), b->state->name, expected);
}

/* Reads the exponent of a block size. */
static bool read_log2(const struct json *value, unsigned *log2)
{
	int64_t size;

	if (!json_integer(value, &size) || size < BNB_BLOCK_MIN || size > BNB_BLOCK_MAX || (size & (size - 1)))
		return false;
	*log2 = (unsigned)__builtin_ctzll((uint64_t)size);
	return true;
}

/* [rows, columns], or that of each of several matrices. */
static bool bnb_read_shape(const struct bnb4_opener *b, const struct json *list)
{
	struct bnb4_module *m = b->m;
	const size_t ndim = json_count(list);
	uint64_t rows = 1;

	if (ndim != 2 && ndim != 3)
		return false;
	for (size_t i = 0; i < ndim; i++) {
		int64_t d;

		if (!json_integer(json_at(list, i), &d) || d < 1 || (uint64_t)d > MATRIX_ROWS_MAX)
			return false;
		b->shape[i] = (uint64_t)d;
		if (i + 1 < ndim && (!checked_mul(rows, b->shape[i], &rows) || rows > MATRIX_ROWS_MAX))
			return false;
	}
	if (b->shape[ndim - 1] > MATRIX_COLUMNS_MAX)
		return false;
	m->e.ndim = (uint8_t)ndim;
	m->t.rows = (uint32_t)rows;
	m->t.columns = (uint32_t)b->shape[ndim - 1];
	m->count = rows * m->t.columns;
	return true;
}

static int read_nested(const struct bnb4_opener *b, const struct json *json)
{
	const char *dtype = json_str(json_get(json, "nested_dtype"));
	double offset;
	uint32_t bits;

	if (!read_log2(json_get(json, "nested_blocksize"), &b->m->t.nested_log2))
		return bad_state(b, "\"nested_blocksize\", a power of two from 32 to 4096");
	if (!json_number(json_get(json, "nested_offset"), &offset))
		return bad_state(b, "\"nested_offset\", a number");
	if (!dtype || strcmp(dtype, "float32") != 0)
		return bad_state(b, "\"nested_dtype\": \"float32\"");
	bits = float_bits_of_double(offset);
	b->m->t.nested_offset = float_of_bits(bits);
	return 0;
}

static int read_state(const struct bnb4_opener *b, const struct json *json)
{
	const char *type = json_str(json_get(json, "quant_type"));
	struct bnb4_tensor *t = &b->m->t;

	if (!type || strcmp(type, strstr(b->state->name, STATE) + strlen(STATE)) != 0)
		return bad_state(b, "\"quant_type\" as in the tensor's name");
	if (!read_log2(json_get(json, "blocksize"), &t->block_log2))
		return bad_state(b, "\"blocksize\", a power of two from 32 to 4096");
	if (!bnb_read_shape(b, json_get(json, "shape")))
		return bad_state(b,
		    "\"shape\", of two or three dimensions, at most 2147483648 rows and 4194304 columns");
	b->m->blocks = div_up(b->m->count, (uint64_t)1 << t->block_log2);
	return b->m->e.part[BNB4_ABSMAX]->dtype == DTYPE_U8 ? read_nested(b, json) : 0;
}

static int load_state(const struct bnb4_opener *b)
{
	const struct st_tensor *t = b->state;
	struct json *json = NULL;
	char name[512];
	void *text;
	int rc;

	if (t->dtype != DTYPE_U8 || t->bytes > STATE_BYTES_MAX)
		return opening_bad_tensor(b->o, t, "U8, a JSON text of at most 4096 bytes");
	rc = opening_read(b->o, t, t->bytes, &text);
	if (rc)
		return rc;
	snprintf(name, sizeof(name), "%.200s: tensor %.200s", opening_file(b->o, t), t->name);
	rc = json_check((struct json_text){text, t->bytes}, name, b->o->err);
	if (rc == 0)
		rc = json_parse((struct json_text){text, t->bytes}, name, &json, b->o->err);
	if (rc == 0)
		rc = read_state(b, json);
	json_free(json);
	free(text);
	return rc;
}

/* ---- 4 bits ---- */

static int check_nested(const struct bnb4_opener *b)
{
	const struct st_tensor *map = b->m->e.part[BNB4_NESTED_MAP], *absmax = b->m->e.part[BNB4_NESTED_ABSMAX];
	const struct bnb4_module *m = b->m;

	if (!map || !absmax)
		return err_set(b->o->err, -EBADMSG,
		    "%s: tensor %.200s is U8, but there is no nested_absmax or no nested_quant_map beside it; fetch "
		    "the model again",
		    opening_file(b->o, m->e.part[BNB4_ABSMAX]), m->e.part[BNB4_ABSMAX]->name);
	if (!is_array(map, DTYPE_F32, 256))
		return opening_bad_tensor(b->o, map, "F32 [256]");
	if (!is_array(absmax, DTYPE_F32, div_up(m->blocks, (uint64_t)1 << m->t.nested_log2)))
		return opening_bad_tensor(b->o, absmax, "an F32 for each block of absmax");
	b->m->t.nested_map = checkpoint_data(b->o->c, map);
	b->m->t.nested_absmax = checkpoint_data(b->o->c, absmax);
	return 0;
}

/* Decoding is by the table of the type, as bitsandbytes does it whatever the file says. */
static int check_map(const struct bnb4_opener *b)
{
	const struct st_tensor *t = b->m->e.part[BNB4_MAP];
	void *map;
	int rc;

	if (!t)
		return 0;
	if (!is_array(t, DTYPE_F32, 16))
		return opening_bad_tensor(b->o, t, "F32 [16]");
	rc = opening_read(b->o, t, t->bytes, &map);
	if (rc)
		return rc;
	if (memcmp(map, b->m->t.table, t->bytes) != 0)
		opening_tally(b->o, "quant_map is not the table of its quant_type", "; decoded by the latter",
		    b->m->e.module);
	free(map);
	return 0;
}

static int bnb_check_parts(const struct bnb4_opener *b)
{
	const struct bnb4_module *m = b->m;
	const struct st_tensor *weight = m->e.part[BNB4_WEIGHT], *absmax = m->e.part[BNB4_ABSMAX];
	const bool nested = absmax->dtype == DTYPE_U8;
	char expected[80];

	if (weight->bytes != div_up(m->count, 2)) {
		snprintf(expected, sizeof(expected), "%llu bytes, two weights in each, as its quant_state says",
		    (unsigned long long)div_up(m->count, 2));
		return opening_bad_tensor(b->o, weight, expected);
	}
	if (!is_array(absmax, nested ? DTYPE_U8 : DTYPE_F32, m->blocks))
		return opening_bad_tensor(b->o, absmax, "an F32 or U8 for each block");
	b->m->t.codes = checkpoint_data(b->o->c, weight);
	b->m->t.absmax = checkpoint_data(b->o->c, absmax);
	return nested ? check_nested(b) : 0;
}

/* The tensors of module `name`, whose weight has that name too. */
static int find_bnb_parts(const struct bnb4_opener *b, const char *name)
{
	for (size_t i = BNB4_WEIGHT; i < BNB4_STATE; i++) {
		const struct st_tensor *t = opening_find(b->o, name, i == BNB4_WEIGHT ? "" : nf4_suffixes[i]);

		opening_part(b->o, &b->m->e, i, t);
		if (!t && i <= BNB4_ABSMAX)
			return err_set(b->o->err, -EBADMSG,
			    "%s: tensor %.200s is there, but %.200s%s is not; fetch the model again",
			    opening_file(b->o, b->state), b->state->name, name,
			    i == BNB4_WEIGHT ? "" : nf4_suffixes[i]);
	}
	opening_part(b->o, &b->m->e, BNB4_STATE, b->state);
	return 0;
}

static int open_bnb4(struct opening *o, const struct st_tensor *state)
{
	struct arena *arena = &o->c->arena;
	const char *type = strstr(state->name, STATE), *name;
	struct bnb4_opener b = {o, arena_alloc(arena, 1, sizeof(*b.m)), state, arena_alloc(arena, 3, sizeof(*b.shape))};
	int rc;

	name = arena_strndup(arena, state->name, (size_t)(type - state->name));
	if (!b.m || !b.shape || !name)
		return err_memory(o->err);
	type += strlen(STATE);
	if (strcmp(type, "nf4") != 0 && strcmp(type, "fp4") != 0)
		return err_set(o->err, -ENOTSUP,
		    "%s: tensor %.200s: this type of bitsandbytes is not supported (nf4 and fp4 are); fetch another "
		    "version of the model",
		    opening_file(o, state), state->name);
	b.m->e.encoding = *type == 'n' ? &nf4_encoding : &fp4_encoding;
	b.m->e.module = name;
	b.m->t.table = *type == 'n' ? bnb_nf4 : bnb_fp4;
	rc = find_bnb_parts(&b, name);
	if (rc == 0)
		rc = load_state(&b);
	if (rc == 0)
		rc = bnb_check_parts(&b);
	if (rc == 0)
		rc = check_map(&b);
	return rc ? rc : bnb_add(o, name, &b.m->e, b.shape);
}

/* ---- 8 bits ---- */

/* 0 is row after row; 1 to 3 are tiles for the matrix units of one age of GPUs each, which old files have. */
static int check_weight_format(struct opening *o, const struct st_tensor *t)
{
	void *format;
	int rc;

	if (t->dtype != DTYPE_U8 || t->bytes != 1)
		return opening_bad_tensor(o, t, "U8, one byte");
	rc = opening_read(o, t, 1, &format);
	if (rc)
		return rc;
	if (*(unsigned char *)format != 0)
		rc = err_set(o->err, -ENOTSUP,
		    "%s: tensor %.200s is %u: weights in tiles for one kind of GPU, which are not supported (0, row "
		    "after row, is); save the model again with bitsandbytes 0.45 or later",
		    opening_file(o, t), t->name, *(unsigned char *)format);
	free(format);
	return rc;
}

static int check_int8(struct opening *o, const struct st_tensor *weight, const struct st_tensor *scale)
{
	if (weight->dtype != DTYPE_I8 || weight->ndim != 2 || !weight->bytes)
		return opening_bad_tensor(o, weight, "I8 [out_features, in_features], since there is an SCB beside it");
	if (!is_array(scale, DTYPE_F32, weight->shape[0]))
		return opening_bad_tensor(o, scale, "an F32 for each row of the weight");
	return opening_check_size(o, weight, weight->shape[0], weight->shape[1]);
}

static int open_bnb8(struct opening *o, const struct st_tensor *scale)
{
	const struct st_tensor *weight = opening_beside(o, scale, ".SCB", ".weight");
	const struct st_tensor *format = opening_beside(o, scale, ".SCB", ".weight_format");
	struct checkpoint *c = o->c;
	struct bnb8_module *m = arena_alloc(&c->arena, 1, sizeof(*m));
	uint64_t *shape = arena_alloc(&c->arena, 2, sizeof(*shape));
	int rc;

	if (!m || !shape)
		return err_memory(o->err);
	if (!weight)
		return err_set(o->err, -EBADMSG,
		    "%s: tensor %.200s is there, but no weight of that module; fetch the model again",
		    opening_file(o, scale), scale->name);
	rc = check_int8(o, weight, scale);
	if (rc == 0 && format)
		rc = check_weight_format(o, format);
	if (rc)
		return rc;
	memcpy(shape, weight->shape, 2 * sizeof(*shape));
	m->t = (struct bnb8_tensor){
	    (uint32_t)shape[0], (uint32_t)shape[1], checkpoint_data(c, weight), checkpoint_data(c, scale)};
	m->e.encoding = &int8_encoding;
	m->e.ndim = 2;
	opening_part(o, &m->e, BNB8_WEIGHT, weight);
	opening_part(o, &m->e, BNB8_SCALE, scale);
	opening_part(o, &m->e, BNB8_FORMAT, format);
	return bnb_add(o, weight->name, &m->e, shape);
}

/* ---- the checkpoint ---- */

static bool is_bnb(const struct opening *o, const struct st_tensor *t)
{
	(void)o;
	return strstr(t->name, STATE) || ends_with(t->name, ".SCB");
}

static bool bnb_claims(const struct opening *o)
{
	return opening_has(o, is_bnb);
}

static int bnb_open(struct opening *o)
{
	int rc = opening_configs(o, opening_label, o);

	for (size_t i = 0; rc == 0 && i < o->c->tensor_count; i++) {
		const struct st_tensor *t = &o->c->tensors[i];

		if (opening_is_taken(o, t))
			continue;
		if (strstr(t->name, STATE))
			rc = open_bnb4(o, t);
		else if (ends_with(t->name, ".SCB"))
			rc = open_bnb8(o, t);
	}
	return rc;
}

const struct family bnb_family = {"bitsandbytes", bnb_claims, bnb_open};
