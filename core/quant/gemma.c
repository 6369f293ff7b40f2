/* SPDX-License-Identifier: MIT */

/*
 * Gemma's own quantized releases (quant_method gemma): M.weight of type I8, or of U8 with fields of 4 or 2 bits, and
 * M.weight_scale for each row; embeddings are E.embedding_quantized and E.embedding_scale, for each of equal blocks of
 * a row, and served as E.weight, without the scale that the class itself applies to embeddings. Codes are signed, those
 * in fields with half their range added. Source: transformers 5.24.
 */

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "base/err.h"
#include "base/pattern.h"
#include "quant/affine.h"

enum gemma_part { GEMMA_CODES, GEMMA_SCALE };

static const char *const weight_suffixes[] = {".weight", ".weight_scale", NULL};
static const char *const embedding_suffixes[] = {".embedding_quantized", ".embedding_scale", NULL};

static const struct encoding weight_encoding = AFFINE_ENCODING("Gemma", weight_suffixes),
			     embedding_encoding = AFFINE_ENCODING("Gemma", embedding_suffixes);

struct gemma_pattern {
	struct lazy_pattern pattern;
	int64_t bits;
};

struct gemma_opener {
	struct opening *o;
	const char *file; /* of the configuration, NULL if none names Gemma */
	int64_t bits;     /* of modules that match no pattern */
	struct gemma_pattern *list;
	size_t count;
	struct patterns *set;
	struct affine_widths widths;
};

/* ---- the configuration ---- */

static int gemma_read_config(void *ctx, const char *where, const struct json *config)
{
	struct gemma_opener *g = ctx;
	const char *method = json_str(json_get(config, "quant_method"));
	const struct json *modules = json_get(config, "module_quant_configs");
	struct arena *arena = &g->o->c->arena;

	if (g->file || !method || strcmp(method, "gemma") != 0)
		return 0;
	g->file = where;
	json_integer(json_get(config, "num_bits"), &g->bits);
	g->list = arena_alloc(arena, json_count(modules), sizeof(*g->list));
	g->set = patterns_new(arena);
	if (!g->list || !g->set)
		return err_memory(g->o->err);
	for (const struct json *m = json_is_object(modules) ? json_first(modules) : NULL; m; m = json_after(m)) {
		struct gemma_pattern *p = &g->list[g->count++];

		p->pattern.text = json_key(m);
		if (!json_integer(json_get(m, "num_bits"), &p->bits))
			p->bits = g->bits;
	}
	opening_label(g->o, where, config);
	return 0;
}

/*
 * What is said of all modules, or by the pattern that is found first in the module's name; of several at the same place
 * by the first one. transformers makes one regular expression of all patterns and searches for that.
 */
static int gemma_find_bits(struct gemma_opener *g, const char *module, int64_t *bits)
{
	int first = INT_MAX;

	*bits = g->bits;
	for (size_t i = 0; i < g->count && first > 1; i++) {
		struct gemma_pattern *p = &g->list[i];
		const int found = pattern_try(g->set, &p->pattern, module, false);

		if (found < 0)
			return err_set(g->o->err, -ENOTSUP,
			    "%s: module_quant_configs: whether \"%.200s\" is in %.200s decides its width, but that pattern %s; "
			    "write names of modules in its place",
			    g->file, p->pattern.text, module, p->pattern.fault);
		if (found > 0 && found < first) {
			first = found;
			*bits = p->bits;
		}
	}
	return 0;
}

/* ---- modules ---- */

/*
 * A width of fields that the configuration gives, if it makes rows of a length that occurs in the model and the other
 * width does not.
 */
static bool bits_fit(const struct gemma_opener *g, uint64_t row_bytes, int64_t bits)
{
	const uint64_t other = bits == 4 ? 2 : 4;

	if (bits != 2 && bits != 4)
		return false;
	return affine_has_width(&g->widths, row_bytes * 8 / (uint64_t)bits) ||
	       !affine_has_width(&g->widths, row_bytes * 8 / other);
}

static int fill_gemma_matrix(struct gemma_opener *g, const struct st_tensor *codes, const struct st_tensor *scale,
    struct affine_module *m)
{
	const uint64_t rows = codes->ndim == 2 ? codes->shape[0] : 0,
		       row_bytes = codes->ndim == 2 ? codes->shape[1] : 0;
	const bool bytes = codes->dtype == DTYPE_I8;
	uint64_t columns, groups;
	int64_t bits = 8;
	int rc;

	if (!codes->bytes || !rows || rows > MATRIX_ROWS_MAX || row_bytes > MATRIX_COLUMNS_MAX / 4)
		return opening_bad_tensor(g->o, codes, "[out_features, bytes], at most 2147483648 by 1048576");
	rc = bytes ? 0 : gemma_find_bits(g, m->e.module, &bits);
	if (rc)
		return rc;
	if (!bytes && !bits_fit(g, row_bytes, bits))
		return err_set(g->o->err, -EBADMSG,
		    "%s: %lld bits for %.200s, which has %llu bytes a row: expected 2 or 4, whichever makes rows of a length that "
		    "config.json has; correct num_bits or module_quant_configs",
		    g->file, (long long)bits, m->e.module, (unsigned long long)row_bytes);
	columns = row_bytes * 8 / (uint64_t)bits;
	groups = scale->ndim == 2 ? scale->shape[1] : 0;
	if (!dtype_is_view(scale->dtype) || !groups || scale->shape[0] != rows || columns % groups)
		return opening_bad_tensor(g->o, scale, "a float for each row, or for equal blocks of it");
	m->bits = (uint8_t)bits;
	m->m = (struct affine_matrix){
	    .rows = (uint32_t)rows,
	    .columns = (uint32_t)columns,
	    .block_rows = 1,
	    .block_columns = (uint32_t)(columns / groups),
	    .groups = (uint32_t)groups,
	    .bits = (uint8_t)bits,
	    .packing = bytes ? AFFINE_SIGNED : AFFINE_STREAM,
	    .offset = AFFINE_MIDDLE,
	    .scale_dtype = scale->dtype,
	    .row_bytes = row_bytes,
	    .codes = checkpoint_data(g->o->c, codes),
	    .scales = checkpoint_data(g->o->c, scale),
	};
	return 0;
}

static int add_gemma(struct gemma_opener *g, const struct st_tensor *codes, const struct st_tensor *scale,
    const struct encoding *encoding)
{
	struct affine_module *m = arena_alloc(&g->o->c->arena, 1, sizeof(*m));
	int rc;

	if (!m)
		return err_memory(g->o->err);
	m->e.encoding = encoding;
	m->e.module = opening_module(g->o, codes, encoding->suffixes[GEMMA_CODES]);
	if (!m->e.module)
		return err_memory(g->o->err);
	rc = fill_gemma_matrix(g, codes, scale, m);
	if (rc)
		return rc;
	opening_part(g->o, &m->e, GEMMA_CODES, codes);
	opening_part(g->o, &m->e, GEMMA_SCALE, scale);
	g->o->hide_activations = true;
	return opening_add_matrix(g->o, &m->e, m->m.rows, m->m.columns);
}

/* Returns the encoding of a tensor and its scale, by names and types, or NULL. */
static const struct encoding *gemma_encoding_of(const struct opening *o, const struct st_tensor *t,
    const struct st_tensor **scale)
{
	const struct encoding *const encodings[] = {&weight_encoding, &embedding_encoding};

	if (t->dtype != DTYPE_I8 && t->dtype != DTYPE_U8)
		return NULL;
	for (size_t i = 0; i < 2; i++) {
		const char *const *suffixes = encodings[i]->suffixes;

		*scale = opening_beside(o, t, suffixes[GEMMA_CODES], suffixes[GEMMA_SCALE]);
		if (*scale)
			return encodings[i];
	}
	return NULL;
}

static bool is_gemma(const struct opening *o, const struct st_tensor *t)
{
	const struct st_tensor *scale;

	return gemma_encoding_of(o, t, &scale) != NULL;
}

static bool gemma_claims(const struct opening *o)
{
	return opening_has(o, is_gemma);
}

/* Other formats store bytes under these names too, so the configuration must name Gemma. */
static int gemma_open(struct opening *opening)
{
	struct gemma_opener g = {.o = opening};
	int rc = opening_configs(opening, gemma_read_config, &g);

	affine_widths_read(opening->c->config_json, &g.widths);
	for (size_t i = 0; rc == 0 && g.file && i < opening->c->tensor_count; i++) {
		const struct st_tensor *t = &opening->c->tensors[i], *scale;
		const struct encoding *encoding = opening->taken[i] ? NULL : gemma_encoding_of(opening, t, &scale);

		if (encoding)
			rc = add_gemma(&g, t, scale, encoding);
	}
	return rc;
}

const struct family gemma_family = {"Gemma", gemma_claims, gemma_open};
