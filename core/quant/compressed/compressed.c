/* SPDX-License-Identifier: MIT */

/*
 * compressed-tensors, integers: a module M with M.weight_packed (words) or M.weight (I8), M.weight_scale, and perhaps
 * M.weight_zero_point and M.weight_g_idx. The size of a packed weight is data, in M.weight_shape. Codes and zeros are
 * signed numbers, stored with half their range added where they are packed. Sources: compressed-tensors 0.7 to 0.20,
 * llm-compressor.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/err.h"
#include "quant/affine.h"
#include "quant/compressed/schemes.h"
#include "quant/gptq/form.h"
#include "quant/repack.h"

enum { PART_CODES, PART_SCALE, PART_ZERO, PART_SHAPE, PART_G_IDX };

static const char *const packed_suffixes[] = {
    ".weight_packed", ".weight_scale", ".weight_zero_point", ".weight_shape", ".weight_g_idx", NULL};
static const char *const bytes_suffixes[] = {
    ".weight", ".weight_scale", ".weight_zero_point", ".weight_shape", ".weight_g_idx", NULL};

/* ---- GPTQ's form ---- */

/* Fields are the same as GPTQ's: half their range is added to codes and to packed zeros. */
static const char *compressed_form(const struct encoded *e, struct gptq_form *out)
{
	const struct affine_matrix *m = &((const struct affine_module *)e)->m;
	const bool one = m->block_rows >= m->rows;

	if (m->packing == AFFINE_SIGNED)
		return "has codes in bytes, which are not packed";
	if (m->packing != AFFINE_STREAM || (m->bits != 2 && m->bits != 4 && m->bits != 8))
		return "has codes of a width for which there is no exact GPTQ form (2, 4 and 8 bits have one)";
	if (m->offset == AFFINE_ZEROS_SIGNED)
		return "has zeros in bytes, which may be more than GPTQ's fields hold";
	if (m->block_rows > 1 && !one)
		return "has scales for blocks of rows, but GPTQ has them per row";
	*out = (struct gptq_form){
	    .q = {.in_features = m->columns,
		.out_features = m->rows,
		.groups = m->groups,
		.group_size = m->block_columns,
		.bits = m->bits,
		.word_bits = 32,
		.packing = PACKING_STREAM,
		.zeros = m->offset == AFFINE_MIDDLE ? ZEROS_MIDDLE : ZEROS_V2,
		.scale_dtype = m->scale_dtype,
		.g_idx = m->g_idx},
	    .stored = ZEROS_MIDDLE,
	    .symmetric = m->offset == AFFINE_MIDDLE,
	    .codes = {m->codes, m->row_bytes},
	    .scales = {m->scales, one ? 0 : m->groups * sizeof(uint16_t)},
	};
	return NULL;
}

static uint32_t compressed_form_zero(const struct encoded *e, uint32_t n, uint32_t g)
{
	return (uint32_t)affine_zero(&((const struct affine_module *)e)->m, n, g);
}

static const struct gptq_form_ops compressed_form_ops = {compressed_form, compressed_form_zero, NULL};

#define COMPRESSED_ENCODING(names)                                                                       \
	{                                                                                                \
		AFFINE_MEMBERS("compressed-tensors", names), AFFINE_CODES, .repack = &gptq_repack,       \
									   .gptq = &compressed_form_ops, \
	}

static const struct encoding packed_encoding = COMPRESSED_ENCODING(packed_suffixes),
			     bytes_encoding = COMPRESSED_ENCODING(bytes_suffixes);

struct compressed_opener {
	struct opening *o;
	struct schemes schemes;
	bool bytes; /* some weights are I8 */
};

/* The tensors of one module, and what is known so far about how it is stored. */
struct compressed_parts {
	const char *module;
	const struct st_tensor *part[PART_G_IDX + 1];
	uint64_t rows, columns;
};

/* What a scheme makes of a module. */
struct compressed_fit {
	uint8_t bits;
	enum affine_packing packing;
	uint32_t block_rows, block_columns;
};

/* ---- which tensors ---- */

static bool is_packed_weight(const struct st_tensor *t)
{
	return t->dtype == DTYPE_I32 && ends_with(t->name, ".weight_packed");
}

static bool is_bytes_weight(const struct opening *o, const struct st_tensor *t)
{
	return t->dtype == DTYPE_I8 && opening_beside(o, t, ".weight", ".weight_scale");
}

static bool is_compressed_part(const struct opening *o, const struct st_tensor *t)
{
	(void)o;
	return ends_with(t->name, ".weight_packed") || ends_with(t->name, ".weight_scale") ||
	       ends_with(t->name, ".bitmask");
}

static bool compressed_claims(const struct opening *o)
{
	return opening_has(o, is_compressed_part);
}

/* ---- shapes ---- */

/*
 * True if this is the number of words in a row of that many codes; sets the packing that fits, the likelier one of two.
 */
static bool fit_words(const struct schemes *s, unsigned bits, uint64_t codes, uint64_t words,
    enum affine_packing *packing)
{
	const bool stream = div_up(codes * bits, 32) == words, whole = div_up(codes, 32 / bits) == words;

	*packing = stream && (s->streams || !whole || 32 % bits == 0) ? AFFINE_STREAM : AFFINE_WORDS;
	return stream || whole;
}

/* The grid of scales by a scheme's settings. Without a scheme, or `loosely`: what divides evenly. */
static bool fit_grid(const struct compressed_parts *p, const struct scheme *s, bool loosely, struct compressed_fit *fit)
{
	const struct st_tensor *scale = p->part[PART_SCALE];
	const uint64_t rows = scale->ndim ? scale->shape[0] : 1, groups = scale->ndim == 2 ? scale->shape[1] : 1;
	uint64_t width = groups == 1 ? p->columns : 0;

	fit->block_rows = 1;
	if (st_elements(scale) == 1) {
		fit->block_rows = (uint32_t)p->rows;
	} else if (s && s->block[0] && div_up(p->rows, s->block[0]) == rows &&
		   div_up(p->columns, s->block[1]) == groups) {
		fit->block_rows = s->block[0];
		width = s->block[1];
	} else if (rows != p->rows) {
		return false;
	}
	if (!width && s && s->group_size && div_up(p->columns, s->group_size) == groups)
		width = s->group_size;
	if (!width && loosely && groups && p->columns % groups == 0)
		width = p->columns / groups;
	if (fit->block_rows == 1 && width > p->columns)
		width = p->columns;
	fit->block_columns = (uint32_t)width;
	return width > 0;
}

static bool fit_scheme(const struct compressed_opener *o, const struct compressed_parts *p, const struct scheme *s,
    bool loosely, struct compressed_fit *fit)
{
	const struct st_tensor *codes = p->part[PART_CODES];

	fit->bits = s->bits;
	fit->packing = AFFINE_SIGNED;
	if (codes->dtype == DTYPE_I32 && !fit_words(&o->schemes, s->bits, p->columns, codes->shape[1], &fit->packing))
		return false;
	return fit_grid(p, s, loosely, fit);
}

static bool fits_alike(const struct compressed_fit *a, const struct compressed_fit *b)
{
	return a->bits == b->bits && a->packing == b->packing && a->block_rows == b->block_rows &&
	       a->block_columns == b->block_columns;
}

/* Finds the scheme by targets, as the shapes fit several. */
static int fit_target(const struct compressed_opener *o, const struct compressed_parts *p, bool loosely,
    struct compressed_fit *fit)
{
	const struct scheme *found = NULL;
	const char *pattern = NULL;
	int rc = schemes_find(&o->schemes, p->module, &found, &pattern);

	if (rc)
		return err_set(o->o->err, rc,
		    "%s: the shapes of module %.200s fit several config_groups, and which one it belongs to depends on "
		    "the pattern \"%.200s\", which cannot be evaluated; write the module's name in its place",
		    o->o->out->labels.configuration, p->module, pattern);
	if (found && fit_scheme(o, p, found, loosely, fit))
		return 0;
	return err_set(o->o->err, -EBADMSG,
	    "%s: the shapes of module %.200s fit several config_groups, and its name is not a target of any of them; "
	    "add it to the targets of its group",
	    o->o->out->labels.configuration, p->module);
}

/* Counts schemes that fit in different ways, and says how the first one does. */
static size_t count_fits(const struct compressed_opener *o, const struct compressed_parts *p, bool loosely,
    struct compressed_fit *first)
{
	size_t count = 0;

	for (size_t i = 0; i < o->schemes.count; i++) {
		struct compressed_fit fit;

		if (!fit_scheme(o, p, &o->schemes.list[i], loosely, &fit))
			continue;
		if (!count)
			*first = fit;
		count += !count || !fits_alike(first, &fit);
	}
	return count;
}

/* Counts widths of codes for which a packing takes as many words as there are; the first is set. */
static size_t count_widths(const struct compressed_opener *o, const struct compressed_parts *p,
    enum affine_packing packing, struct compressed_fit *fit)
{
	size_t count = 0;

	fit->packing = packing;
	for (uint8_t bits = 1; bits <= 8; bits++) {
		enum affine_packing found;

		if (!fit_words(&o->schemes, bits, p->columns, p->part[PART_CODES]->shape[1], &found) ||
		    found != packing)
			continue;
		if (!count++)
			fit->bits = bits;
	}
	return count;
}

/* No scheme fits: the width whose words fit, and groups that divide evenly. Returns how many widths do. */
static size_t fit_without_scheme(const struct compressed_opener *o, const struct compressed_parts *p,
    struct compressed_fit *fit)
{
	bool grid = false;
	size_t count;

	for (size_t i = 0; !grid && i < o->schemes.count; i++)
		grid = fit_grid(p, &o->schemes.list[i], false, fit);
	if (!grid && !fit_grid(p, NULL, true, fit))
		return 0;
	fit->bits = 8;
	fit->packing = AFFINE_SIGNED;
	if (p->part[PART_CODES]->dtype == DTYPE_I8)
		return 1;
	count = count_widths(o, p, AFFINE_STREAM, fit);
	return count ? count : count_widths(o, p, AFFINE_WORDS, fit);
}

static int fit_module(const struct compressed_opener *o, const struct compressed_parts *p, struct compressed_fit *fit)
{
	size_t count;

	for (int loosely = 0; loosely < 2; loosely++) {
		count = count_fits(o, p, loosely, fit);
		if (count)
			return count == 1 ? 0 : fit_target(o, p, loosely, fit);
	}
	count = fit_without_scheme(o, p, fit);
	if (count == 1)
		return 0;
	if (count)
		return err_set(o->o->err, -EBADMSG,
		    "%s: tensor %.200s may be of codes of several widths, and no configuration says which; add its "
		    "config_groups to config.json",
		    opening_file(o->o, p->part[PART_CODES]), p->part[PART_CODES]->name);
	return opening_bad_tensor(o->o, p->part[PART_SCALE],
	    "one scale for the weight, for each row, or for each group or block of it");
}

/* ---- checks ---- */

static int compressed_read_shape(const struct compressed_opener *o, struct compressed_parts *p)
{
	const struct st_tensor *t = p->part[PART_SHAPE], *codes = p->part[PART_CODES];
	const size_t width = t && t->dtype == DTYPE_I32 ? 4 : 8;
	int64_t size[2] = {0};
	char *bytes;
	int rc;

	if (!t)
		return err_set(o->o->err, -EBADMSG,
		    "%s: tensor %.200s has no %.200s.weight_shape; fetch the model again", opening_file(o->o, codes),
		    codes->name, p->module);
	if ((t->dtype != DTYPE_I64 && t->dtype != DTYPE_I32) || t->bytes != 2 * width)
		return opening_bad_tensor(o->o, t, "I64 [2]");
	rc = opening_read(o->o, t, t->bytes, (void **)&bytes);
	if (rc)
		return rc;
	for (int i = 0; i < 2; i++)
		memcpy(&size[i], bytes + (size_t)i * width, width);
	free(bytes);
	if (size[0] < 1 || size[1] < 1 || (uint64_t)size[0] != codes->shape[0])
		return err_set(o->o->err, -EBADMSG,
		    "%s: tensor %.200s says [%lld, %lld], but there are %llu rows of codes; fetch the model again",
		    opening_file(o->o, t), t->name, (long long)size[0], (long long)size[1],
		    (unsigned long long)codes->shape[0]);
	p->rows = (uint64_t)size[0];
	p->columns = (uint64_t)size[1];
	return 0;
}

static int check_codes(const struct compressed_opener *o, struct compressed_parts *p)
{
	const struct st_tensor *t = p->part[PART_CODES];
	int rc = 0;

	if (t->ndim == 3)
		return err_set(o->o->err, -ENOTSUP,
		    "%s: tensor %.200s has three dimensions: stacked experts of compressed-tensors are not supported; "
		    "fetch a version of the model with a tensor for each expert",
		    opening_file(o->o, t), t->name);
	if (t->ndim != 2 || !t->bytes)
		return opening_bad_tensor(o->o, t, "[out_features, in_features] or the words of that");
	p->rows = t->shape[0];
	p->columns = t->shape[1];
	if (t->dtype == DTYPE_I32)
		rc = compressed_read_shape(o, p);
	return rc ? rc : opening_check_size(o->o, t, p->rows, p->columns);
}

static int compressed_check_scale(const struct compressed_opener *o, const struct compressed_parts *p)
{
	const struct st_tensor *t = p->part[PART_SCALE];

	if (!t)
		return err_set(o->o->err, -EBADMSG,
		    "%s: tensor %.200s has no %.200s.weight_scale; fetch the model again",
		    opening_file(o->o, p->part[PART_CODES]), p->part[PART_CODES]->name, p->module);
	if (!dtype_is_view(t->dtype) || t->ndim > 2 || !t->bytes)
		return opening_bad_tensor(o->o, t, "scales of type F16, BF16 or F32 in at most two dimensions");
	return 0;
}

static bool compressed_same_shape(const struct st_tensor *a, const struct st_tensor *b)
{
	return a->ndim == b->ndim && memcmp(a->shape, b->shape, a->ndim * sizeof(*a->shape)) == 0;
}

/* Zeros: a signed byte for each scale; or packed down the columns, as wide as the codes and in the same way. */
static int check_compressed_zeros(const struct compressed_opener *o, const struct compressed_parts *p,
    struct affine_matrix *m)
{
	const struct st_tensor *t = p->part[PART_ZERO], *scale = p->part[PART_SCALE];
	uint64_t words;

	m->offset = AFFINE_MIDDLE;
	if (!t)
		return 0;
	m->offsets = checkpoint_data(o->o->c, t);
	if (t->dtype == DTYPE_I8 && compressed_same_shape(t, scale)) {
		m->offset = AFFINE_ZEROS_SIGNED;
		return 0;
	}
	if (m->packing == AFFINE_SIGNED)
		return opening_bad_tensor(o->o, t, "I8 of the shape of the scales");
	words = m->packing == AFFINE_STREAM ? div_up((uint64_t)m->rows * m->bits, 32) : div_up(m->rows, 32u / m->bits);
	if (t->dtype != DTYPE_I32 || t->ndim != 2 || scale->ndim != 2 || m->block_rows != 1 || t->shape[0] != words ||
	    t->shape[1] != m->groups)
		return opening_bad_tensor(o->o, t,
		    "I8 of the shape of the scales, or I32 words of as many bits as the weight's down the columns");
	m->offset = AFFINE_ZEROS_PACKED;
	return 0;
}

enum g_idx_use { G_IDX_BAD, G_IDX_ORDERED, G_IDX_NEEDED };

static enum g_idx_use use_of_g_idx(const struct affine_matrix *m, const uint32_t *g_idx)
{
	if (opening_is_ordered(g_idx, m->columns, m->block_columns))
		return G_IDX_ORDERED;
	for (uint32_t k = 0; k < m->columns; k++)
		if (g_idx[k] >= m->groups)
			return G_IDX_BAD;
	return G_IDX_NEEDED;
}

/* The groups of columns that are not in order, as private memory. */
static int compressed_read_g_idx(const struct compressed_opener *o, const struct compressed_parts *p,
    struct affine_matrix *m)
{
	const struct st_tensor *t = p->part[PART_G_IDX];
	enum g_idx_use use;
	uint32_t *g_idx;
	void *stored;
	int rc;

	if (!t)
		return 0;
	if (t->dtype != DTYPE_I32 || t->ndim != 1 || t->shape[0] != m->columns)
		return opening_bad_tensor(o->o, t, "I32 [in_features]");
	rc = opening_read(o->o, t, t->bytes, &stored);
	if (rc)
		return rc;
	use = use_of_g_idx(m, stored);
	if (use == G_IDX_NEEDED) {
		m->g_idx = g_idx = arena_alloc(&o->o->c->arena, m->columns, sizeof(*g_idx));
		if (g_idx)
			memcpy(g_idx, stored, t->bytes);
		else
			rc = err_memory(o->o->err);
	}
	free(stored);
	if (use == G_IDX_BAD)
		rc = err_set(o->o->err, -EBADMSG,
		    "%s: tensor %.200s names a group that is not one of %u; fetch the model again",
		    opening_file(o->o, t), t->name, m->groups);
	return rc;
}

/* ---- modules ---- */

static int find_compressed_parts(const struct compressed_opener *o, const struct st_tensor *codes,
    struct compressed_parts *p)
{
	const bool bytes = codes->dtype == DTYPE_I8;
	const char *const *suffixes = bytes ? bytes_suffixes : packed_suffixes;

	*p = (struct compressed_parts){.module = opening_module(o->o, codes, suffixes[PART_CODES])};
	if (!p->module)
		return err_memory(o->o->err);
	for (int i = PART_CODES; i <= PART_G_IDX; i++)
		p->part[i] = opening_find(o->o, p->module, suffixes[i]);
	return 0;
}

static int fill_compressed_matrix(const struct compressed_opener *o, const struct compressed_parts *p,
    struct affine_module *m)
{
	const struct st_tensor *codes = p->part[PART_CODES], *scale = p->part[PART_SCALE];
	struct compressed_fit fit;
	int rc = fit_module(o, p, &fit);

	if (rc)
		return rc;
	m->bits = fit.bits;
	m->m = (struct affine_matrix){
	    .rows = (uint32_t)p->rows,
	    .columns = (uint32_t)p->columns,
	    .block_rows = fit.block_rows,
	    .block_columns = fit.block_columns,
	    .groups = scale->ndim == 2 ? (uint32_t)scale->shape[1] : 1,
	    .bits = fit.packing == AFFINE_SIGNED ? 8 : fit.bits,
	    .packing = fit.packing,
	    .scale_dtype = scale->dtype,
	    .row_bytes = codes->bytes / codes->shape[0],
	    .codes = checkpoint_data(o->o->c, codes),
	    .scales = checkpoint_data(o->o->c, scale),
	};
	rc = check_compressed_zeros(o, p, &m->m);
	return rc ? rc : compressed_read_g_idx(o, p, &m->m);
}

static int add_compressed(const struct compressed_opener *o, const struct st_tensor *codes)
{
	struct affine_module *m = arena_alloc(&o->o->c->arena, 1, sizeof(*m));
	const struct st_tensor *global;
	struct compressed_parts p;
	int rc;

	if (!m)
		return err_memory(o->o->err);
	rc = find_compressed_parts(o, codes, &p);
	if (rc == 0)
		rc = check_codes(o, &p);
	if (rc == 0)
		rc = compressed_check_scale(o, &p);
	if (rc == 0)
		rc = fill_compressed_matrix(o, &p, m);
	if (rc)
		return rc;
	m->e.encoding = codes->dtype == DTYPE_I8 ? &bytes_encoding : &packed_encoding;
	m->e.module = p.module;
	for (size_t i = 0; i <= PART_G_IDX; i++)
		opening_part(o->o, &m->e, i, p.part[i]);
	global = opening_find(o->o, p.module, ".weight_global_scale");
	if (global)
		opening_take(o->o, global);
	return opening_add_matrix(o->o, &m->e, p.rows, p.columns);
}

/* Scales beside a weight that was left as it is: those of training, or of a model that was never compressed. */
static void hide_parameters(struct compressed_opener *o, const struct st_tensor *scale)
{
	static const char *const parameters[] = {
	    ".weight_scale", ".weight_zero_point", ".weight_g_idx", ".weight_shape", ".weight_global_scale"};
	const struct st_tensor *weight = opening_beside(o->o, scale, ".weight_scale", ".weight");

	if (!o->schemes.labelled || !weight || !dtype_is_cast(weight->dtype))
		return;
	for (size_t i = 0; i < sizeof(parameters) / sizeof(*parameters); i++) {
		const struct st_tensor *t = opening_beside(o->o, scale, ".weight_scale", parameters[i]);

		if (t)
			opening_take(o->o, t);
	}
	opening_tally(o->o, "weights are not compressed, but stored beside the scales that would round them",
	    "; served as stored, without that rounding", weight->name);
}

/* Tensors of sparse formats, whatever the configuration says. */
static int refuse_sparse(const struct compressed_opener *o, const struct st_tensor *t)
{
	const bool sparse = opening_beside(o->o, t, ".bitmask", ".compressed") ||
	                    (opening_beside(o->o, t, ".weight_packed", ".scale_packed") &&
				opening_beside(o->o, t, ".weight_packed", ".meta"));

	return sparse ? err_set(o->o->err, -ENOTSUP,
			    "%s: tensor %.200s belongs to a sparse kind of compressed-tensors that is not supported; "
			    "decompress it with a version of compressed-tensors before 0.14, or fetch a version of the "
			    "model that is not "
			    "sparse",
			    opening_file(o->o, t), t->name)
	              : 0;
}

/* Codes of Ascend's tools, which have these names too, but may be two in a byte, or have an offset. */
static int refuse_offset(const struct compressed_opener *o, const struct st_tensor *t)
{
	const struct st_tensor *offset = opening_beside(o->o, t, ".weight", ".weight_offset");

	return offset
	           ? err_set(o->o->err, -ENOTSUP,
			 "%s: tensor %.200s belongs to ModelSlim's way of storing integers, which is not supported; fetch "
			 "the unquantized version of the model, or one in another format that README lists",
			 opening_file(o->o, offset), offset->name)
	           : 0;
}

static int open_compressed(struct compressed_opener *o, const struct st_tensor *t)
{
	int rc;

	if (opening_is_taken(o->o, t))
		return 0;
	rc = refuse_sparse(o, t);
	if (rc)
		return rc;
	if (is_packed_weight(t))
		return add_compressed(o, t);
	/* Other formats store bytes under these names too: under another label they are not taken. */
	if (is_bytes_weight(o->o, t) && (o->schemes.labelled || !o->schemes.other_label)) {
		o->bytes = true;
		rc = refuse_offset(o, t);
		return rc ? rc : add_compressed(o, t);
	}
	if (ends_with(t->name, ".weight_scale"))
		hide_parameters(o, t);
	return 0;
}

/* Refuses bytes without scales where other modules have theirs: an unfinished download. */
static int refuse_bytes(const struct compressed_opener *o, const struct st_tensor *t)
{
	if (opening_is_taken(o->o, t) || t->dtype != DTYPE_I8 || t->ndim != 2 || !ends_with(t->name, ".weight"))
		return 0;
	return err_set(o->o->err, -EBADMSG,
	    "%s: tensor %.200s is I8 and has no %.200s_scale, while others have one; fetch the model again",
	    opening_file(o->o, t), t->name, t->name);
}

static int compressed_open(struct opening *opening)
{
	struct compressed_opener o = {.o = opening};
	int rc = schemes_read(opening, &o.schemes);

	for (size_t i = 0; rc == 0 && i < opening->c->tensor_count; i++)
		rc = open_compressed(&o, &opening->c->tensors[i]);
	for (size_t i = 0; rc == 0 && o.bytes && i < opening->c->tensor_count; i++)
		rc = refuse_bytes(&o, &opening->c->tensors[i]);
	opening->hide_activations |= o.schemes.labelled;
	return rc;
}

const struct family compressed_family = {"compressed-tensors", compressed_claims, compressed_open};
