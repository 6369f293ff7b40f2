/* SPDX-License-Identifier: MIT */

/*
 * FP8: a weight X of type F8_E4M3 or F8_E5M2 beside its scales, X_scale_inv or X_scale (despite the name, both
 * multiply), MODULE.scale (DeepSeek-V4) or MODULE.qscale_weight (Mistral). The grid of scales follows from its shape;
 * only ragged matrices need the configuration for the block size. X has two dimensions, or three if the experts of a
 * layer are one tensor. Sources: DeepSeek-V3's fp8_cast_bf16.py, transformers' finegrained_fp8.py, compressed-tensors,
 * modelopt.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/err.h"
#include "quant/comfy.h"
#include "quant/compressed/schemes.h"
#include "quant/family.h"
#include "quant/gptq/config.h"
#include "quant/matrix_rows.h"

enum fp8_part { FP8_WEIGHT, FP8_SCALE };

static const char *const suffixes[] = {".weight", ".scale", NULL};

struct fp8_module {
	struct encoded e;    /* first */
	struct fp8_tensor t; /* one matrix; of a stack the first */
	uint64_t scale_step; /* bytes between scales of consecutive matrices; 0: all share them */
	uint64_t turned[2];  /* the shape of a transposed matrix */
};

/* Sizes of blocks in one configuration; models have one or two. */
#define FP8_BLOCKS_MAX 32

struct fp8_opener {
	struct opening *o;
	uint32_t blocks[FP8_BLOCKS_MAX][2]; /* rows and columns, from the configuration: of all modules, or of some */
	size_t block_count;
	bool divide;
	bool scaled; /* the checkpoint has scales for F8 tensors */
};

static const struct fp8_module *fp8_module_of(const struct encoded *e)
{
	return (const struct fp8_module *)e;
}

/* ---- rows ---- */

/* One matrix of a stack. */
static struct fp8_tensor fp8_expert(const struct encoded *e, uint64_t expert)
{
	const struct fp8_module *m = fp8_module_of(e);
	struct fp8_tensor t = m->t;

	t.codes += expert * t.rows * t.columns;
	t.scales += expert * m->scale_step;
	return t;
}

static void fp8_fill(const struct matrix_part *p, void *dst)
{
	const struct fp8_tensor t = fp8_expert(p->e, p->matrix);

	p->kernels->fp8.rows[p->out](dst, &t, &p->rect);
}

static void fp8_needs(const struct matrix_part *p, const struct inputs *in, struct spans *out)
{
	const struct kernel_rect *r = &p->rect;
	const struct fp8_tensor t = fp8_expert(p->e, p->matrix);

	inputs_add_span(in, fp8_module_of(p->e)->t.scales, p->e->part[FP8_SCALE]->bytes, out);
	inputs_add_span(in, t.codes + (uint64_t)r->row0 * t.columns, (uint64_t)r->rows * t.columns, out);
}

static const struct matrix_ops fp8_matrix = {fp8_fill, fp8_needs, .cut = MATRIX_CUT};

/* ---- telling ---- */

static void fp8_describe(const struct encoded *e, struct facts *out)
{
	const struct fp8_tensor *t = &fp8_module_of(e)->t;

	facts_number(out, "bits", 8);
	facts_word(out, "code_dtype", dtype_name(t->code_dtype));
	facts_number(out, "block_rows", t->block_rows);
	facts_number(out, "block_columns", t->block_columns);
	facts_word(out, "scale_dtype", dtype_name(t->scale_dtype));
	if (t->divide)
		facts_truth(out, "divided_by_scale", true);
}

static void fp8_summarize(const struct encoded *e, struct text *out)
{
	const struct fp8_tensor *t = &fp8_module_of(e)->t;

	text_printf(out, "%s, a %s scale for each %ux%u", dtype_name(t->code_dtype), dtype_name(t->scale_dtype),
	    t->block_rows, t->block_columns);
}

static const struct finding codes_nan = {.key = "Codes_nan", .note = "FP8 codes that are NaN", .remark = true};

static void fp8_examine(const struct encoded *e, struct findings *out)
{
	const struct fp8_module *m = fp8_module_of(e);
	const unsigned greatest = m->t.code_dtype == DTYPE_F8_E4M3 ? 0x7e : 0x7c;
	const uint64_t count = e->part[FP8_SCALE]->bytes / dtype_bytes(m->t.scale_dtype);
	struct scale_counts scales = {0};
	uint64_t nan = 0;

	for (uint64_t i = 0; i < e->part[FP8_WEIGHT]->bytes; i++)
		nan += (m->t.codes[i] & 0x7f) > greatest;
	scale_count_all(&scales, m->t.scales, count, m->t.scale_dtype);
	findings_add(out, &codes_nan, nan);
	findings_add_scales(out, &scales);
}

/* Beyond these are only infinities and NaN. */
static struct stored_codes fp8_stored_codes(const struct encoded *e)
{
	const uint8_t greatest = fp8_module_of(e)->t.code_dtype == DTYPE_F8_E4M3 ? 0x7e : 0x7b;

	return (struct stored_codes){.lowest = 0x80 | greatest, .highest = greatest};
}

static const struct encoding fp8_encoding = {
    .name = "FP8",
    .suffixes = suffixes,
    .rows = matrix_rows,
    .matrix = &fp8_matrix,
    .stored_codes = fp8_stored_codes,
    .describe = fp8_describe,
    .summarize = fp8_summarize,
    .examine = fp8_examine,
};

/* ---- which tensors ---- */

static bool is_fp8(const struct opening *o, const struct st_tensor *t)
{
	(void)o;
	return t->dtype == DTYPE_F8_E4M3 || t->dtype == DTYPE_F8_E5M2;
}

static bool fp8_claims(const struct opening *o)
{
	return opening_has(o, is_fp8);
}

/* Returns the scales of a weight, or NULL. */
static const struct st_tensor *find_scale(const struct opening *o, const struct st_tensor *t)
{
	const struct st_tensor *s = opening_find(o, t->name, "_scale_inv");

	if (!s)
		s = opening_find(o, t->name, "_scale");
	if (!s)
		s = opening_beside(o, t, ".weight", ".scale");
	return s ? s : opening_beside(o, t, ".weight", ".qscale_weight");
}

/* True if the tensor is itself the scale of another: NVFP4 keeps those in F8_E4M3. */
static bool fp8_is_scale(const struct opening *o, const struct st_tensor *t)
{
	return opening_beside(o, t, "_scale", "") || opening_beside(o, t, "_scale", "_packed") ||
	       opening_beside(o, t, "_scales", "_blocks");
}

/* ---- the grid of scales ---- */

/* The last two dimensions of a matrix's scales. */
struct fp8_grid {
	uint64_t rows, columns;
	bool one;     /* one scale for the whole tensor */
	bool stacked; /* each expert has scales of its own */
};

/* Reads the grid from the shape; returns false for a shape that no writer uses. */
static bool read_grid(const struct st_tensor *t, const struct st_tensor *s, struct fp8_grid *g)
{
	const uint64_t *d = s->shape;

	*g = (struct fp8_grid){.one = st_elements(s) == 1, .stacked = t->ndim == 3};
	if (g->one)
		return true;
	if (t->ndim == 3) {
		if (s->ndim != 3 || d[0] != t->shape[0])
			return false;
		g->rows = d[1];
		g->columns = d[2];
		return true;
	}
	if (s->ndim == 1) {
		g->rows = d[0];
		g->columns = 1;
		return d[0] == t->shape[0];
	}
	if (s->ndim == 4 && (d[1] != 1 || d[3] != 1))
		return false; /* modelopt writes [rows, 1, columns, 1] */
	g->rows = d[0];
	g->columns = d[s->ndim == 4 ? 2 : 1];
	return s->ndim == 2 || s->ndim == 4;
}

static bool try_block(struct fp8_tensor *t, const struct fp8_grid *g, uint64_t rows, uint64_t columns)
{
	if (!rows || !columns || rows > UINT32_MAX || columns > UINT32_MAX || div_up(t->rows, rows) != g->rows ||
	    div_up(t->columns, columns) != g->columns)
		return false;
	t->block_rows = (uint32_t)rows;
	t->block_columns = (uint32_t)columns;
	return true;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Counts blocks of the configuration that fit in different ways; the first that does is set. */
static size_t try_configured(const struct fp8_opener *o, struct fp8_tensor *t, const struct fp8_grid *g)
{
	size_t count = 0;

	for (size_t i = 0; i < o->block_count; i++) {
		struct fp8_tensor other = *t;

		if (!try_block(&other, g, o->blocks[i][0], o->blocks[i][1]))
			continue;
		count += !count || least(t->block_rows, t->rows) != least(other.block_rows, t->rows) ||
		         least(t->block_columns, t->columns) != least(other.block_columns, t->columns);
		if (count == 1)
			*t = other;
	}
	return count;
}

/*
 * Returns how many block sizes fit, of those by the first rule that has any: one is set, several cannot be told apart.
 * The rules are the whole matrix, a row, a column; the configuration's; groups along a row; 128x128; what divides
 * evenly. The order matters for ragged matrices: 192 rows in 2 blocks of 128 are 128 + 64.
 */
static size_t fp8_fit_grid(const struct fp8_opener *o, struct fp8_tensor *t, struct fp8_grid *g)
{
	size_t configured;

	if (g->one) {
		*g = (struct fp8_grid){.rows = 1, .columns = 1, .one = true, .stacked = g->stacked};
		return try_block(t, g, t->rows, t->columns);
	}
	if (g->columns == 1 && g->rows == t->rows)
		return try_block(t, g, 1, t->columns);
	/* FBGEMM stores scales of [out, 1] for Llama-4's down_proj, an [in, out] matrix. */
	if (g->stacked && g->columns == 1 && g->rows == t->columns)
		*g = (struct fp8_grid){.rows = 1, .columns = g->rows, .stacked = true};
	if (g->rows == 1 && g->columns == t->columns)
		return try_block(t, g, t->rows, 1);
	configured = try_configured(o, t, g);
	if (configured)
		return configured;
	if (g->rows == t->rows && g->columns && t->columns % g->columns == 0)
		return try_block(t, g, 1, t->columns / g->columns);
	if (try_block(t, g, 128, 128))
		return 1;
	/* A few scales for whole rows may be those of q_proj, k_proj and v_proj in one, which differ in size. */
	if (g->columns == 1 && !g->stacked)
		return 0;
	return g->rows && g->columns && t->rows % g->rows == 0 && t->columns % g->columns == 0 &&
	       try_block(t, g, t->rows / g->rows, t->columns / g->columns);
}

/* ---- modules ---- */

static int check_weight(const struct fp8_opener *o, const struct st_tensor *t, struct fp8_module *m)
{
	const uint64_t *d = t->shape + (t->ndim == 3 ? 1 : 0);

	if ((t->ndim != 2 && t->ndim != 3) || !t->bytes)
		return opening_bad_tensor(o->o, t, "[out_features, in_features], or that for each of several experts");
	m->t.rows = (uint32_t)d[0];
	m->t.columns = (uint32_t)d[1];
	m->t.code_dtype = t->dtype;
	return opening_check_size(o->o, t, d[0], d[1]);
}

static int check_scale(const struct fp8_opener *o, const struct st_tensor *t, const struct st_tensor *s,
    struct fp8_module *m)
{
	const enum dtype dtype = s->dtype == DTYPE_U8 ? DTYPE_F8_E8M0 : (enum dtype)s->dtype;
	struct fp8_grid g;
	size_t fits;

	if (!dtype_is_view(dtype) && dtype != DTYPE_F8_E8M0)
		return opening_bad_tensor(o->o, s, "scales of type F32, F16, BF16, F8_E8M0 or U8");
	fits = read_grid(t, s, &g) ? fp8_fit_grid(o, &m->t, &g) : 0;
	if (!fits)
		return opening_bad_tensor(o->o, s,
		    "one scale for the weight, for each row, column, group or block of it");
	if (fits > 1)
		return err_set(o->o->err, -EBADMSG,
		    "%s: tensor %.200s fits several sizes of blocks in %s, and which it has cannot be known; leave only "
		    "that one there",
		    opening_file(o->o, s), s->name, o->o->out->labels.configuration);
	m->t.scale_dtype = dtype;
	m->scale_step = g.one ? 0 : g.rows * g.columns * dtype_bytes(dtype);
	return 0;
}

static void fp8_set_shape(const struct fp8_opener *o, const struct st_tensor *t, struct fp8_module *m)
{
	m->e.shape = t->shape;
	m->e.ndim = t->ndim;
	if (t->ndim != 2 || m->t.scale_dtype != DTYPE_F8_E8M0 || !quant_method_turns_conv1d(o->o, m->e.module))
		return;
	m->e.transposed = true;
	m->turned[0] = t->shape[1];
	m->turned[1] = t->shape[0];
	m->e.shape = m->turned;
}

static int add_fp8(struct fp8_opener *o, const struct st_tensor *t, const struct st_tensor *s)
{
	struct checkpoint *c = o->o->c;
	struct fp8_module *m = arena_alloc(&c->arena, 1, sizeof(*m));
	int rc;

	if (!m)
		return err_memory(o->o->err);
	m->t.divide = o->divide;
	rc = check_weight(o, t, m);
	if (rc == 0)
		rc = check_scale(o, t, s, m);
	if (rc)
		return rc;
	m->t.codes = checkpoint_data(c, t);
	m->t.scales = checkpoint_data(c, s);
	m->e.encoding = &fp8_encoding;
	m->e.module = ends_with(t->name, ".weight") ? opening_module(o->o, t, ".weight") : t->name;
	if (!m->e.module)
		return err_memory(o->o->err);
	fp8_set_shape(o, t, m);
	if (m->e.transposed && m->t.rows > MATRIX_COLUMNS_MAX)
		return opening_bad_tensor(o->o, t, "at most 4194304 rows, which are columns as served");
	rc = opening_drop_zeros(o->o, m->e.module);
	if (rc == 0)
		rc = opening_drop_order(o->o, m->e.module, m->t.columns, m->t.block_columns);
	if (rc == 0 && m->t.scale_dtype != DTYPE_F8_E8M0)
		rc = comfy_take(o->o, m->e.module);
	if (rc)
		return rc;
	opening_part(o->o, &m->e, FP8_WEIGHT, t);
	opening_part(o->o, &m->e, FP8_SCALE, s);
	return opening_add(o->o, t->name, &m->e);
}

static int open_fp8(struct fp8_opener *o, const struct st_tensor *t)
{
	const struct st_tensor *s;

	if (!is_fp8(o->o, t) || opening_is_taken(o->o, t) || fp8_is_scale(o->o, t))
		return 0;
	s = find_scale(o->o, t);
	if (s)
		return add_fp8(o, t, s);
	if (o->scaled)
		return err_set(o->o->err, -EBADMSG,
		    "%s: tensor %.200s is %s and has no scale (expected %.200s_scale_inv or _scale), while others have one; "
		    "fetch the model again",
		    opening_file(o->o, t), t->name, dtype_name(t->dtype), t->name);
	return 0; /* served as plain numbers, with a warning: see quant.c */
}

/* ---- the configuration ---- */

/* Notes a size of blocks that some module may have. Returns 0 or -EBADMSG. */
static int note_block(struct fp8_opener *o, const char *where, uint32_t rows, uint32_t columns)
{
	if (!rows || !columns)
		return 0;
	for (size_t i = 0; i < o->block_count; i++)
		if (o->blocks[i][0] == rows && o->blocks[i][1] == columns)
			return 0;
	if (o->block_count == FP8_BLOCKS_MAX)
		return err_set(o->o->err, -EBADMSG, "%s: more than %d sizes of blocks that differ; correct it", where,
		    FP8_BLOCKS_MAX);
	o->blocks[o->block_count][0] = rows;
	o->blocks[o->block_count++][1] = columns;
	return 0;
}

static int note_block_of(struct fp8_opener *o, const char *where, const struct json *value)
{
	uint32_t block[2];

	schemes_read_block(value, block);
	return note_block(o, where, block[0], block[1]);
}

/* A scheme of compressed-tensors, if it is one of 8-bit floats: others may be of integers, or of 4 bits. */
static int read_fp8_scheme(struct fp8_opener *o, const char *where, const struct json *weights)
{
	const char *type = json_str(json_get(weights, "type"));
	int64_t bits, size;
	int rc;

	if (!type || strcmp(type, "float") != 0 || (json_integer(json_get(weights, "num_bits"), &bits) && bits != 8))
		return 0;
	rc = note_block_of(o, where, json_get(weights, "block_structure"));
	if (rc == 0 && json_integer(json_get(weights, "group_size"), &size) && size > 0 && size <= UINT32_MAX)
		rc = note_block(o, where, 1, (uint32_t)size);
	return rc;
}

static int read_fp8_config(void *ctx, const char *where, const struct json *config)
{
	struct fp8_opener *o = ctx;
	const struct json *groups = json_get(config, "config_groups"), *overrides = json_get(config, "dynamic");
	const char *semantics = json_str(json_get(config, "weight_scale_semantics"));
	int rc = note_block_of(o, where, json_get(config, "weight_block_size"));

	opening_label(o->o, where, config);
	o->divide |= semantics && strcmp(semantics, "inverse") == 0;
	for (const struct json *group = json_first(groups); rc == 0 && group; group = json_after(group))
		rc = read_fp8_scheme(o, where, json_get(group, "weights"));
	for (const struct json *part = json_first(overrides); rc == 0 && part; part = json_after(part))
		rc = note_block_of(o, where, json_get(part, "weight_block_size"));
	return rc;
}

static int fp8_open(struct opening *opening)
{
	struct checkpoint *c = opening->c;
	struct fp8_opener o = {.o = opening};
	const size_t others = opening->out->encoded_count;
	int rc = opening_configs(opening, read_fp8_config, &o);

	if (rc)
		return rc;
	for (size_t i = 0; i < c->tensor_count && !o.scaled; i++)
		o.scaled = is_fp8(opening, &c->tensors[i]) && find_scale(opening, &c->tensors[i]);
	for (size_t i = 0; rc == 0 && i < c->tensor_count; i++)
		rc = open_fp8(&o, &c->tensors[i]);
	opening->hide_activations |= opening->out->encoded_count > others;
	return rc;
}

const struct family fp8_family = {"FP8", fp8_claims, fp8_open};
