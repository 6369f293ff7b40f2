/* SPDX-License-Identifier: MIT */

/*
 * MLX, mode affine: a module M with M.weight of words, a stream of codes along each row, M.scales and M.biases. Not to
 * be confused with M.bias, which is the layer's own. transformers' quantizer for Metal writes the same, with M.qbiases.
 *
 * mlx-lm gives tensors the names and shapes of its own classes when it converts a model. Where those are the ones of
 * transformers nothing is to be done; experts in one tensor are taken apart; models with other changes are refused.
 * Sources: mlx-lm 0.32.2, mlx 0.32.4, transformers 5.24.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "quant/affine.h"
#include "quant/mlx_models.h"

#define EXPERTS_MAX 4096
#define EXPERTS_MARK ".switch_mlp."

enum mlx_part { MLX_WEIGHT, MLX_SCALES, MLX_BIASES };

static const char *const affine_suffixes[] = {".weight", ".scales", ".biases", NULL};
static const char *const metal_suffixes[] = {".weight", ".scales", ".qbiases", NULL};

static const struct encoding mlx_encoding = AFFINE_BIASES_ENCODING("MLX", affine_suffixes),
			     metal_encoding = AFFINE_BIASES_ENCODING("MLX", metal_suffixes);

/* ---- the configuration ---- */

/* What the configuration says about modules; 0 or NULL if nothing. */
struct mlx_said {
	uint64_t group_size, bits;
	const char *mode;
};

struct mlx_opener {
	struct opening *o;
	const char *model_type;
	enum mlx_change change;
	const struct json *config;   /* or NULL */
	struct mlx_said all;         /* for modules that it does not name */
	const struct json **members; /* [member_count] for a single module each, by name */
	size_t member_count;
	struct affine_widths widths;
};

static int by_key(const void *a, const void *b)
{
	return strcmp(json_key(*(const struct json *const *)a), json_key(*(const struct json *const *)b));
}

static uint64_t mlx_number(const struct json *config, const char *key)
{
	int64_t number;

	return json_integer(json_get(config, key), &number) && number > 0 ? (uint64_t)number : 0;
}

static struct mlx_said said_in(const struct json *config)
{
	return (struct mlx_said){
	    mlx_number(config, "group_size"), mlx_number(config, "bits"), json_str(json_get(config, "mode"))};
}

/* AutoRound writes MLX's form too, with the names and shapes of transformers. */
static bool is_by_autoround(const struct json *config)
{
	const char *method = json_str(json_get(json_get(config, "quantization_config"), "quant_method"));

	return method && strstr(method, "auto-round");
}

static int mlx_read_config(struct mlx_opener *m)
{
	struct checkpoint *c = m->o->c;
	const char *type = json_str(json_get(c->config_json, "model_type"));

	m->model_type = type ? type : "";
	m->change = is_by_autoround(c->config_json) ? MLX_NONE : mlx_change_of(m->model_type);
	m->config = json_get(c->config_json, "quantization");
	if (!json_is_object(m->config))
		m->config = json_get(c->config_json, "quantization_config");
	if (!json_is_object(m->config))
		m->config = NULL;
	m->all = said_in(m->config);
	affine_widths_read(c->config_json, &m->widths);
	m->members = arena_alloc(&c->arena, json_count(m->config), sizeof(const struct json *));
	if (!m->members)
		return err_memory(m->o->err);
	for (const struct json *j = json_first(m->config); j; j = json_after(j))
		if (json_is_object(j))
			m->members[m->member_count++] = j;
	if (m->member_count)
		qsort(m->members, m->member_count, sizeof(const struct json *), by_key);
	return 0;
}

/* The configuration of a module alone, or NULL. */
static const struct json *mlx_member(const struct mlx_opener *m, const char *module)
{
	size_t low = 0, high = m->member_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;
		const int order = strcmp(json_key(m->members[middle]), module);

		if (order == 0)
			return m->members[middle];
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

/* Settings of a module alone, else those of all; but the mode of a module with its own configuration is only there. */
static struct mlx_said mlx_said_of(const struct mlx_opener *m, const char *module)
{
	const struct json *own = mlx_member(m, module);
	struct mlx_said said = own ? said_in(own) : m->all;

	said.group_size = said.group_size ? said.group_size : m->all.group_size;
	said.bits = said.bits ? said.bits : m->all.bits;
	return said;
}

/* ---- widths ---- */

struct mlx_fit {
	uint64_t group_size, bits;
};

/* Codes of a group take as many bits as its words have: `product`. */
static bool mlx_try(uint64_t product, uint64_t group_size, struct mlx_fit *fit)
{
	if (!group_size || product % group_size)
		return false;
	*fit = (struct mlx_fit){group_size, product / group_size};
	return fit->bits <= 8 && fit->bits != 7;
}

/*
 * The configuration's group size, if it leads to the configuration's width; else the one of MLX's sizes that makes a
 * row as long as one of the model's widths.
 */
static int mlx_fit(const struct mlx_opener *m, const char *module, const struct st_tensor *t, uint64_t groups,
    struct mlx_fit *fit)
{
	static const uint64_t sizes[] = {32, 64, 128};
	const uint64_t words = t->shape[t->ndim - 1], product = words * 32 / groups;
	const struct mlx_said said = mlx_said_of(m, module);
	struct mlx_fit other;
	size_t found = 0;

	if (words * 32 % groups)
		return opening_bad_tensor(m->o, t, "words that groups of codes fill evenly");
	if (!m->config)
		return err_set(m->o->err, -EBADMSG,
		    "config.json: no \"quantization\" says what MLX's tensor %.200s consists of; fetch the model again",
		    t->name);
	if (mlx_try(product, said.group_size, fit) && (!said.bits || said.bits == fit->bits))
		return 0;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(*sizes); i++)
		if (mlx_try(product, sizes[i], &other) && affine_has_width(&m->widths, groups * sizes[i])) {
			*fit = other;
			found++;
		}
	if (found == 1)
		return 0;
	return err_set(m->o->err, -EBADMSG,
	    "config.json: %llu bits in groups of %llu for %.200s, expected a product of %llu, according to the shapes "
	    "of its tensors; correct \"quantization\"",
	    (unsigned long long)said.bits, (unsigned long long)said.group_size, module, (unsigned long long)product);
}

/* ---- tensors ---- */

static bool is_words(const struct opening *o, const struct st_tensor *t)
{
	return t->dtype == DTYPE_U32 && opening_beside(o, t, ".weight", ".scales");
}

static bool mlx_claims(const struct opening *o)
{
	return opening_has(o, is_words);
}

static int refuse_mode(const struct mlx_opener *m, const struct st_tensor *t, const char *module)
{
	const char *own = mlx_said_of(m, module).mode, *mode = own ? own : m->all.mode;

	return err_set(m->o->err, -ENOTSUP,
	    "%s: tensor %.200s is MLX's in mode \"%.40s\", of which only \"affine\" is supported; fetch a version of "
	    "the model in that mode, or its GPTQ or unquantized version",
	    opening_file(m->o, t), t->name, mode && strcmp(mode, "affine") != 0 ? mode : "mxfp4, mxfp8 or nvfp4");
}

static bool beside_alike(const struct st_tensor *t, const struct st_tensor *other)
{
	return t->ndim == other->ndim && t->ndim >= 2 &&
	       memcmp(t->shape, other->shape, (size_t)(t->ndim - 1) * sizeof(*t->shape)) == 0;
}

/* A weight and what is beside it, of one matrix or of several experts. */
struct mlx_parts {
	const char *module;
	const struct encoding *encoding;
	const struct st_tensor *part[MLX_BIASES + 1];
	struct affine_matrix first;
	uint64_t count;
};

static int mlx_find_parts(const struct mlx_opener *m, const struct st_tensor *t, struct mlx_parts *p)
{
	const struct st_tensor *scales = opening_beside(m->o, t, ".weight", ".scales");
	const struct st_tensor *biases = opening_beside(m->o, t, ".weight", ".biases");
	const char *mode;

	*p = (struct mlx_parts){.module = opening_module(m->o, t, ".weight"), .encoding = &mlx_encoding, .count = 1};
	if (!p->module)
		return err_memory(m->o->err);
	mode = mlx_said_of(m, p->module).mode;
	if (!biases) {
		biases = opening_beside(m->o, t, ".weight", ".qbiases");
		p->encoding = &metal_encoding;
	}
	if (!biases || !dtype_is_view(scales->dtype) || (mode && strcmp(mode, "affine") != 0))
		return refuse_mode(m, t, p->module);
	p->part[MLX_WEIGHT] = t;
	p->part[MLX_SCALES] = scales;
	p->part[MLX_BIASES] = biases;
	if (!t->bytes || (t->ndim != 2 && t->ndim != 3))
		return opening_bad_tensor(m->o, t, "[out_features, words], or that for each of several experts");
	if (!scales->bytes || !beside_alike(t, scales))
		return opening_bad_tensor(m->o, scales, "[out_features, groups] as its weight");
	if (biases->dtype != scales->dtype || !beside_alike(scales, biases) ||
	    biases->shape[t->ndim - 1] != scales->shape[t->ndim - 1])
		return opening_bad_tensor(m->o, biases, "the type and shape of its scales");
	return 0;
}

/* ---- experts ---- */

/* Finds the number of experts in a tensor, and its name before and after the mark; false if it holds none. */
struct mlx_stack {
	uint64_t experts;
	size_t before;
	const char *after;
};

static bool mlx_is_stack(const struct mlx_opener *m, const struct st_tensor *t, struct mlx_stack *s)
{
	const char *layer = mlx_expert_layer[m->change], *mark = layer ? strstr(t->name, EXPERTS_MARK) : NULL;
	const size_t len = mark ? strlen(layer) : 0, before = mark ? (size_t)(mark - t->name) : 0;

	if (!mark || t->ndim < 2 || before < len || memcmp(mark - len, layer, len) != 0)
		return false;
	*s = (struct mlx_stack){t->shape[0], before, mark + sizeof(EXPERTS_MARK) - 1};
	return s->experts > 0 && s->experts <= EXPERTS_MAX;
}

/* The name of a tensor of one expert: ".gate_proj.weight" with X.switch_mlp before it is of X.experts.#. */
static const char *expert_name(const struct mlx_opener *m, const struct st_tensor *t, const struct mlx_stack *s,
    uint64_t expert)
{
	const size_t len = strcspn(s->after, ".");
	const char *after = s->after, *projection = "";

	for (size_t i = 0; i < MLX_PROJECTIONS; i++) {
		const struct mlx_projection *p = &mlx_projections[m->change][i];

		if (strlen(p->mlx) == len && memcmp(p->mlx, s->after, len) == 0) {
			projection = p->model;
			after = s->after + len;
		}
	}
	return arena_printf(&m->o->c->arena, "%.*s.experts.%llu.%s%s", (int)s->before, t->name,
	    (unsigned long long)expert, projection, after);
}

/* ---- modules ---- */

/* One matrix. */
static int mlx_add(const struct mlx_opener *m, const struct mlx_parts *p, const char *name, uint64_t expert)
{
	struct checkpoint *c = m->o->c;
	struct affine_module *module = arena_alloc(&c->arena, 1, sizeof(*module));

	if (!name || !module)
		return err_memory(m->o->err);
	module->m = p->first;
	module->m.codes += expert * (p->part[MLX_WEIGHT]->bytes / p->count);
	module->m.scales += expert * (p->part[MLX_SCALES]->bytes / p->count);
	module->m.offsets += expert * (p->part[MLX_BIASES]->bytes / p->count);
	module->bits = p->first.bits;
	module->e.encoding = p->encoding;
	module->e.module = arena_strndup(&c->arena, name, strlen(name) - strlen(".weight"));
	if (!module->e.module)
		return err_memory(m->o->err);
	for (size_t i = 0; i <= MLX_BIASES; i++)
		opening_part(m->o, &module->e, i, p->part[i]);
	module->e.stored_bytes /= p->count;
	return opening_add_matrix(m->o, &module->e, p->first.rows, p->first.columns);
}

static int fill_mlx_matrix(const struct mlx_opener *m, struct mlx_parts *p)
{
	const struct st_tensor *t = p->part[MLX_WEIGHT], *scales = p->part[MLX_SCALES];
	const uint64_t rows = t->shape[t->ndim - 2], groups = scales->shape[t->ndim - 1];
	const uint64_t words = t->shape[t->ndim - 1];
	struct mlx_fit fit = {0};
	int rc;

	/* A word has at least four codes, and a group at least one. */
	rc = opening_check_size(m->o, t, rows, words > groups ? words : groups);
	if (rc == 0)
		rc = mlx_fit(m, p->module, t, groups, &fit);
	/* The product cannot overflow: mlx_fit divided by the group size what is below 2^32. */
	if (rc == 0)
		rc = opening_check_size(m->o, t, rows, groups * fit.group_size);
	if (rc)
		return rc;
	p->first = (struct affine_matrix){
	    .rows = (uint32_t)rows,
	    .columns = (uint32_t)(groups * fit.group_size),
	    .block_rows = 1,
	    .block_columns = (uint32_t)fit.group_size,
	    .groups = (uint32_t)groups,
	    .bits = (uint8_t)fit.bits,
	    .packing = AFFINE_STREAM,
	    .offset = AFFINE_BIASES,
	    .scale_dtype = scales->dtype,
	    .row_bytes = words * 4,
	    .codes = checkpoint_data(m->o->c, t),
	    .scales = checkpoint_data(m->o->c, scales),
	    .offsets = checkpoint_data(m->o->c, p->part[MLX_BIASES]),
	};
	return 0;
}

/* Parameters of a module that lost its codes, which would otherwise vanish. */
static int check_mlx_orphan(const struct mlx_opener *m, const struct st_tensor *t)
{
	const bool orphan =
	    opening_beside(m->o, t, ".scales", ".biases") && !opening_beside(m->o, t, ".scales", ".weight");

	return orphan
	           ? err_set(m->o->err, -EBADMSG, "%s: tensor %.200s has no .weight beside it; fetch the model again",
			 opening_file(m->o, t), t->name)
	           : 0;
}

static int refuse_change(const struct mlx_opener *m)
{
	return err_set(m->o->err, -ENOTSUP,
	    "config.json: mlx-lm changes the tensors of model_type \"%.80s\", or what it does to them is unknown; "
	    "fetch the version of the model that was made for transformers",
	    m->model_type);
}

static int mlx_add_weight(const struct mlx_opener *m, const struct st_tensor *t)
{
	struct mlx_stack stack;
	struct mlx_parts p;
	int rc = mlx_find_parts(m, t, &p);

	/* transformers' own quantizer changes nothing. */
	if (rc == 0 && m->change == MLX_OTHER && p.encoding == &mlx_encoding)
		rc = refuse_change(m);
	if (rc == 0)
		rc = fill_mlx_matrix(m, &p);
	if (rc)
		return rc;
	if (t->ndim == 2)
		return mlx_add(m, &p, t->name, 0);
	if (!mlx_is_stack(m, t, &stack))
		return opening_bad_tensor(m->o, t, "two dimensions, or the experts of a model whose class is known");
	p.count = stack.experts;
	for (uint64_t i = 0; rc == 0 && i < p.count; i++)
		rc = mlx_add(m, &p, expert_name(m, t, &stack, i), i);
	return rc;
}

/* Experts in one tensor that are not quantized. */
static int cut_stored(const struct mlx_opener *m, const struct st_tensor *t)
{
	struct checkpoint *c = m->o->c;
	struct mlx_stack stack;
	int rc = 0;

	if (opening_is_taken(m->o, t) || !dtype_is_cast(t->dtype) || !mlx_is_stack(m, t, &stack))
		return 0;
	opening_take(m->o, t);
	for (uint64_t i = 0; rc == 0 && i < stack.experts; i++) {
		struct st_tensor *part = arena_alloc(&c->arena, 1, sizeof(*part));

		if (!part)
			return err_memory(m->o->err);
		*part = *t;
		part->name = expert_name(m, t, &stack, i);
		part->ndim--;
		part->shape++;
		part->bytes /= stack.experts;
		part->begin += i * part->bytes;
		if (!part->name)
			return err_memory(m->o->err);
		rc = opening_put(m->o, &(struct tensor){.name = part->name,
					   .shape = part->shape,
					   .ndim = part->ndim,
					   .origin = TENSOR_STORED,
					   .stored = part});
	}
	return rc;
}

/* Gives a parameter of Apertus's activation its dimension back. */
static int add_dimension(const struct mlx_opener *m, const struct st_tensor *t)
{
	static const uint64_t shape[] = {1};

	if (t->ndim || opening_is_taken(m->o, t) ||
	    !(ends_with(t->name, ".act_fn.alpha_p") || ends_with(t->name, ".act_fn.alpha_n")))
		return 0;
	opening_take(m->o, t);
	return opening_put(m->o,
	    &(struct tensor){.name = t->name, .shape = shape, .ndim = 1, .origin = TENSOR_STORED, .stored = t});
}

static int mlx_open(struct opening *opening)
{
	struct mlx_opener m = {.o = opening};
	int rc = mlx_read_config(&m);

	if (rc == 0 && m.config && !opening->out->labels.configuration) {
		opening_label(opening, "config.json", m.config);
		opening->out->labels.group_size = (int64_t)m.all.group_size;
	}
	for (size_t i = 0; rc == 0 && i < opening->c->tensor_count; i++)
		if (!opening->taken[i] && is_words(opening, &opening->c->tensors[i]))
			rc = mlx_add_weight(&m, &opening->c->tensors[i]);
		else
			rc = check_mlx_orphan(&m, &opening->c->tensors[i]);
	for (size_t i = 0; rc == 0 && i < opening->c->tensor_count; i++)
		rc = m.change == MLX_APERTUS ? add_dimension(&m, &opening->c->tensors[i])
		                             : cut_stored(&m, &opening->c->tensors[i]);
	return rc;
}

const struct family mlx_family = {"MLX", mlx_claims, mlx_open};
