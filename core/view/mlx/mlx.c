/* SPDX-License-Identifier: MIT */

/*
 * A model directory for mlx-lm. Quantized weights have the checkpoint's own codes in MLX's affine form, with the same
 * numbers; everything else is as in the dense view of type plan->dtype. All zeros and scales are read when the
 * directory is first looked at.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tensor/architecture.h"
#include "tensor/dense.h"
#include "view/config_json.h"
#include "view/mlx/place.h"
#include "view/mlx/rows.h"
#include "view/mlx/types.h"
#include "view/view.h"

#define WEIGHT ".weight"

enum mlx_file { MLX_MODEL, MLX_CONFIG, MLX_README, MLX_FILES };

struct mlx_view {
	struct late late; /* first */
	struct plan p;
	enum mlx_change change;
	struct layout *file[MLX_FILES]; /* planned late */
	uint32_t dir, readme;           /* inode numbers */
};

/* ---- types ---- */

/* A tensor of the class with its type, and the choice for each matrix that it consists of. */
struct mlx_shaped {
	const struct mlx_tensor *t;
	struct mlx_type type; /* bits == 0: as a float, or whatever it is */
	struct mlx_choice *choices;
	uint64_t shape[SAFETENSORS_NDIM_MAX + 1], words[SAFETENSORS_NDIM_MAX + 1], groups[SAFETENSORS_NDIM_MAX + 1];
	uint8_t ndim;
};

/* Which part of a tensor of the class a tensor of the file is; names come in this order. */
enum mlx_piece { MLX_BIASES, MLX_SCALES, MLX_WEIGHT };

struct mlx_entry {
	struct st_tensor shown;
	struct mlx_shaped *of;
	enum mlx_piece piece;
};

/* Modules of one type. */
struct mlx_count {
	struct mlx_type type;
	uint64_t weights;
	size_t modules;
};

#define COUNTS_MAX (6 * 3 * DTYPE_VIEWS) /* widths, groups, types */

/* The directory while being planned. */
struct mlx_plan {
	struct mlx_view *v;
	struct mlx_tensors ts;
	struct mlx_shaped *shaped; /* [ts.count] */
	struct mlx_entry *entries; /* [entry_count] by name */
	size_t entry_count;
	struct mlx_count counts[COUNTS_MAX]; /* [count_count] the first has most weights */
	size_t count_count, floats;          /* floats: quantized modules that MLX has no form for */
	uint64_t units;                      /* scales of the module that has most */
	const uint16_t *unit;                /* [units] arena */
	struct text inexact;                 /* lines of README: those modules */
	struct gptqfs_error *err;
};

/* Calls fn for each matrix, or other tensor, whose rows a tensor of the class has in sequence. */
typedef int leaf_fn(void *ctx, const struct tensor *leaf);

static int each_leaf(const struct mlx_tensor *t, leaf_fn *fn, void *ctx)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < t->count; i++) {
		size_t count;
		const struct tensor *const *leaves = tensor_parts(&t->parts[i], &count);

		for (size_t k = 0; rc == 0 && k < count; k++)
			rc = fn(ctx, leaves[k]);
	}
	return rc;
}

static int mlx_count_leaf(void *ctx, const struct tensor *leaf)
{
	(void)leaf;
	++*(size_t *)ctx;
	return 0;
}

struct shaping {
	struct mlx_plan *f;
	struct mlx_shaped *s;
	size_t count, encoded;
};

static int shape_leaf(void *ctx, const struct tensor *leaf)
{
	struct shaping *x = ctx;
	struct mlx_choice *choice = &x->s->choices[x->count++];
	struct encoded *e = tensor_encoded(leaf);

	if (!e)
		return 0;
	x->encoded++;
	*choice = (struct mlx_choice){.type.reason = "an adapter is merged into it"};
	if (tensor_base(leaf) == leaf && mlx_choose(e, x->f->v->p.dtype, choice))
		return err_set(x->f->err, -EIO, "module %.200s cannot be read", e->module);
	x->s->type = x->encoded > 1 ? mlx_type_of_both(x->s->type, choice->type) : choice->type;
	x->f->units = choice->scales > x->f->units ? choice->scales : x->f->units;
	if (choice->type.reason)
		coded_remark(&x->f->inexact, e, choice->type.reason);
	return 0;
}

/* Matrices that share their tensor with another that stays a float stay floats too. */
static int tell_neighbour(void *ctx, const struct tensor *leaf)
{
	struct shaping *x = ctx;
	struct encoded *e = tensor_encoded(leaf);

	if (e && !x->s->choices[x->count].type.reason)
		coded_remark(&x->f->inexact, e, "shares its tensor with a module that stays a float");
	x->count++;
	x->f->floats += e != NULL;
	return 0;
}

static void count_type(struct mlx_plan *f, const struct mlx_shaped *s, size_t modules)
{
	const struct mlx_type type = s->type;
	size_t i = 0;

	while (i < f->count_count && (f->counts[i].type.bits != type.bits || f->counts[i].type.group != type.group ||
					 f->counts[i].type.dtype != type.dtype))
		i++;
	f->count_count += i == f->count_count;
	f->counts[i].type = type;
	f->counts[i].modules += modules;
	for (size_t k = 0; k < s->t->count; k++)
		f->counts[i].weights += tensor_elements(s->t->parts[k]);
}

static int choose_type(struct mlx_plan *f, struct mlx_shaped *s)
{
	struct shaping x = {.f = f, .s = s};
	size_t leaves = 0;
	int rc;

	each_leaf(s->t, mlx_count_leaf, &leaves);
	s->choices = arena_alloc(&f->v->p.c->arena, leaves, sizeof(*s->choices));
	if (!s->choices)
		return err_memory(f->err);
	rc = each_leaf(s->t, shape_leaf, &x);
	if (rc || !x.encoded)
		return rc;
	if (x.encoded < x.count || s->ndim < 2 || !ends_with(s->t->name, WEIGHT))
		s->type = (struct mlx_type){.reason = "not a matrix of MLX"};
	if (s->type.bits) {
		count_type(f, s, x.encoded);
		return 0;
	}
	x.count = 0;
	return each_leaf(s->t, tell_neighbour, &x);
}

static int mlx_shape_all(struct mlx_plan *f)
{
	f->shaped = arena_alloc(&f->v->p.c->arena, f->ts.count, sizeof(*f->shaped));
	if (!f->shaped)
		return err_memory(f->err);
	for (size_t i = 0; i < f->ts.count; i++) {
		struct mlx_shaped *s = &f->shaped[i];
		const struct tensor *first = f->ts.list[i].parts[0];
		int rc;

		s->t = &f->ts.list[i];
		s->ndim = (uint8_t)(first->ndim + s->t->stacked);
		s->shape[0] = s->t->count;
		memcpy(s->shape + s->t->stacked, first->shape, first->ndim * sizeof(*s->shape));
		rc = choose_type(f, s);
		if (rc)
			return rc;
	}
	return 0;
}

/* ---- the tensors of the file ---- */

static struct dense dense_of(const struct mlx_plan *f)
{
	return (struct dense){f->v->p.c, f->v->p.kernels, f->v->p.dtype};
}

static struct st_tensor show_float(const struct mlx_plan *f, const struct mlx_shaped *s)
{
	const struct dense d = dense_of(f);
	struct st_tensor shown = dense_shown(&d, s->t->parts[0]);

	shown.name = s->t->name;
	shown.shape = s->shape;
	shown.ndim = s->ndim;
	shown.bytes *= s->t->count;
	return shown;
}

static struct st_tensor show_piece(const struct mlx_plan *f, struct mlx_shaped *s, enum mlx_piece piece)
{
	static const char *const suffixes[] = {".biases", ".scales", WEIGHT};
	const int module = (int)(strlen(s->t->name) - strlen(WEIGHT));
	uint64_t *shape = piece == MLX_WEIGHT ? s->words : s->groups;
	const enum dtype dtype = piece == MLX_WEIGHT ? DTYPE_U32 : s->type.dtype;
	const uint64_t columns = s->shape[s->ndim - 1];
	struct st_tensor shown = {
	    .shape = shape, .ndim = s->ndim, .dtype = (uint8_t)dtype, .bytes = dtype_bytes(dtype)};

	memcpy(shape, s->shape, s->ndim * sizeof(*shape));
	shape[s->ndim - 1] = piece == MLX_WEIGHT ? columns / 32 * s->type.bits : columns / s->type.group;
	for (uint8_t i = 0; i < s->ndim; i++)
		shown.bytes *= shape[i];
	shown.name = arena_printf(&f->v->p.c->arena, "%.*s%s", module, s->t->name, suffixes[piece]);
	return shown;
}

static int entries_by_name(const void *a, const void *b)
{
	return strcmp(((const struct mlx_entry *)a)->shown.name, ((const struct mlx_entry *)b)->shown.name);
}

static int list_entries(struct mlx_plan *f)
{
	f->entries = calloc(f->ts.count * 3 + 1, sizeof(*f->entries));
	if (!f->entries)
		return err_memory(f->err);
	for (size_t i = 0; i < f->ts.count; i++) {
		struct mlx_shaped *s = &f->shaped[i];

		for (enum mlx_piece piece = s->type.bits ? MLX_BIASES : MLX_WEIGHT; piece <= MLX_WEIGHT; piece++) {
			struct mlx_entry *e = &f->entries[f->entry_count++];

			*e = (struct mlx_entry){s->type.bits ? show_piece(f, s, piece) : show_float(f, s), s, piece};
			if (!e->shown.name)
				return err_memory(f->err);
		}
	}
	qsort(f->entries, f->entry_count, sizeof(*f->entries), entries_by_name);
	for (size_t i = 1; i < f->entry_count; i++)
		if (strcmp(f->entries[i - 1].shown.name, f->entries[i].shown.name) == 0)
			return err_set(f->err, -EBADMSG, "two tensors would be named %.200s", f->entries[i].shown.name);
	return 0;
}

/* ---- their data ---- */

struct appending {
	const struct mlx_plan *f;
	const struct mlx_entry *entry;
	struct layout *layout;
	size_t count;
};

static int append_leaf(void *ctx, const struct tensor *leaf)
{
	static int (*const makers[])(const struct mlx_make *, struct arena *, const struct generator **) = {
	    mlx_bias_rows, mlx_scale_rows, mlx_word_rows};
	struct appending *x = ctx;
	const struct plan *p = &x->f->v->p;
	const struct mlx_type *type = &x->entry->of->type;
	const struct mlx_choice *choice = &x->entry->of->choices[x->count++];
	const struct mlx_make make = {{tensor_encoded(leaf), p->kernels, choice->run, choice->step, x->f->unit},
	    type->bits, type->group, type->dtype};
	const struct generator *g;
	int rc = makers[x->entry->piece](&make, &p->c->arena, &g);

	if (rc == 0)
		layout_add_generator(x->layout, g);
	return rc;
}

static int mlx_append_entry(const struct mlx_plan *f, const struct mlx_entry *entry, struct layout *layout)
{
	const struct mlx_tensor *t = entry->of->t;
	const struct dense d = dense_of(f);
	struct appending x = {f, entry, layout, 0};
	int rc = 0;

	if (entry->of->type.bits)
		return each_leaf(t, append_leaf, &x);
	for (size_t i = 0; rc == 0 && i < t->count; i++)
		rc = dense_append(&d, t->parts[i], layout);
	return rc;
}

static size_t extents_of_entry(const struct mlx_entry *entry)
{
	const struct mlx_tensor *t = entry->of->t;
	size_t count = 0;

	if (entry->of->type.bits)
		each_leaf(t, mlx_count_leaf, &count);
	for (size_t i = 0; !entry->of->type.bits && i < t->count; i++)
		count += dense_extents(t->parts[i]);
	return count;
}

static void mlx_write_header(const struct mlx_plan *f, struct text *out)
{
	uint64_t at = 0;

	safetensors_begin(out);
	for (size_t i = 0; i < f->entry_count; i++)
		safetensors_add(out, &f->entries[i].shown, &at);
	safetensors_end(out);
}

static int lay_out_model(const struct mlx_plan *f, struct layout *layout)
{
	struct arena *arena = &f->v->p.c->arena;
	struct text header = {0};
	size_t extents = 1;
	int rc;

	mlx_write_header(f, &header);
	for (size_t i = 0; i < f->entry_count; i++)
		extents += extents_of_entry(&f->entries[i]);
	rc = layout_reserve(layout, arena, extents);
	if (rc == 0)
		rc = layout_keep_text(layout, arena, &header);
	for (size_t i = 0; rc == 0 && i < f->entry_count; i++)
		rc = mlx_append_entry(f, &f->entries[i], layout);
	layout->contents = NULL; /* it describes no module */
	text_free(&header);
	return rc ? err_memory(f->err) : 0;
}

/* ---- the files around them ---- */

static void mlx_put_type(struct text *out, struct mlx_type type)
{
	text_printf(out, "{\"group_size\": %u, \"bits\": %u, \"mode\": \"affine\"", type.group, type.bits);
}

/* What config.json says about all modules, and about each that differs. */
static void write_quantization(const struct mlx_plan *f, struct text *out)
{
	const struct mlx_type most = f->counts[0].type;

	mlx_put_type(out, most);
	for (size_t i = 0; i < f->ts.count; i++) {
		const struct mlx_shaped *s = &f->shaped[i];
		struct text module = {0};

		if (!s->type.bits || (s->type.bits == most.bits && s->type.group == most.group))
			continue;
		text_put(&module, s->t->name, strlen(s->t->name) - strlen(WEIGHT));
		text_put(&module, "", 1);
		text_string(out, ", ");
		text_json_string(out, module.failed ? "" : module.data);
		text_string(out, ": ");
		mlx_put_type(out, s->type);
		text_string(out, "}");
		out->failed |= module.failed;
		text_free(&module);
	}
	text_string(out, "}");
}

/*
 * True if config.json leaves it to the class whether the head is the embedding, and there is a head. Some classes of
 * mlx-lm tie by default, others than in transformers, and drop it.
 */
static bool must_untie(const struct plan *p)
{
	return architecture_ties_head(p->c->config_json, true) && !architecture_ties_head(p->c->config_json, false) &&
	       !(p->lora && p->lora->untied) && tensors_find(p->tensors, "lm_head.weight");
}

#define MEMBERS_MAX (3 + VIEW_LORA_MEMBERS)

static int lay_out_config(const struct mlx_plan *f, struct layout *layout)
{
	const struct plan *p = &f->v->p;
	struct text quantization = {0}, text = {0};
	struct config_member members[MEMBERS_MAX];
	struct config_view view = {.dtype = p->dtype, .members = members};
	int rc;

	write_quantization(f, &quantization);
	text_put(&quantization, "", 1);
	if (quantization.failed) {
		text_free(&quantization);
		return err_memory(f->err);
	}
	members[view.count++] = (struct config_member){.key = "quantization", .value = quantization.data};
	members[view.count++] = (struct config_member){.key = "quantization_config", .value = quantization.data};
	if (must_untie(p))
		members[view.count++] = (struct config_member){.key = "tie_word_embeddings", .value = "false"};
	view.count += view_lora_members(p, members + view.count);
	config_rewrite(p->c->config_text, &view, &text);
	rc = layout_set_text(layout, &p->c->arena, &text);
	text_free(&quantization);
	text_free(&text);
	return rc ? err_memory(f->err) : 0;
}

static void write_types(const struct mlx_plan *f, const char *before, const char *between, struct text *out)
{
	for (size_t i = 0; i < f->count_count; i++) {
		const struct mlx_count *c = &f->counts[i];

		text_printf(out, "%s%u bits in groups of %u, scales and biases %s (%zu modules)", i ? between : before,
		    c->type.bits, c->type.group, dtype_name(c->type.dtype), c->modules);
	}
	if (f->floats)
		text_printf(out, "%s%s (%zu modules)", f->count_count ? between : before, dtype_name(f->v->p.dtype),
		    f->floats);
}

static int mlx_lay_out_readme(const struct mlx_plan *f, struct layout *layout)
{
	const char *dtype = dtype_name(f->v->p.dtype);
	struct text text = {0};
	bool wide = false;
	int rc;

	for (size_t i = 0; i < f->count_count; i++)
		wide |= f->counts[i].type.dtype == DTYPE_F32;
	text_printf(&text,
	    "The model for mlx-lm. It is computed when it is read. Quantized weights are the checkpoint's own codes in MLX's\n"
	    "affine form: nothing is quantized again. Scales and biases dequantized in 32 bits give the numbers of the fp32\n"
	    "view; only a negative zero becomes 0. Everything else is %s, rounded once (-o dtype= for another type).\n\n"
	    "Quantized modules:\n",
	    dtype);
	write_types(f, "    ", "\n    ", &text);
	text_string(&text, "\n");
	if (wide)
		text_string(&text,
		    "\nF32 scales are for biases that 16 bits do not hold: they take twice the space, and mlx computes "
		    "in 32 bits\n"
		    "wherever it meets them.\n");
	if (f->inexact.len) {
		text_printf(&text, "\nMLX has no form for these modules; they are stored as %s:\n", dtype);
		text_put(&text, f->inexact.data, f->inexact.len);
	}
	rc = layout_set_text(layout, &f->v->p.c->arena, &text);
	text_free(&text);
	return rc ? err_memory(f->err) : 0;
}

/* Lines for reports. */
static int mlx_keep_summary(const struct mlx_plan *f)
{
	struct arena *arena = &f->v->p.c->arena;
	struct text line = {0};

	write_types(f, "", "; ", &line);
	f->v->late.summary = text_keep(&line, arena);
	f->v->late.remarks = text_keep(&f->inexact, arena);
	text_free(&line);
	return f->v->late.summary && f->v->late.remarks ? 0 : err_memory(f->err);
}

/* ---- planning ---- */

/* A view in which nothing is quantized would be the fp16 view by another name. */
static int mlx_check_any(const struct mlx_plan *f)
{
	const char *end = f->inexact.len ? memchr(f->inexact.data, '\n', f->inexact.len) : NULL;

	if (f->inexact.failed)
		return err_memory(f->err);
	if (f->count_count)
		return 0;
	return err_set(f->err, -ENOTSUP, "MLX has no form for any module: %.*s", end ? (int)(end - f->inexact.data) : 0,
	    end ? f->inexact.data : "");
}

static int most_weights(const void *a, const void *b)
{
	const uint64_t x = ((const struct mlx_count *)a)->weights, y = ((const struct mlx_count *)b)->weights;

	return (x < y) - (x > y);
}

static int mlx_plan_contents(struct mlx_plan *f, struct layout layouts[MLX_FILES])
{
	const struct plan *p = &f->v->p;
	int rc = mlx_place_all(p, f->v->change, &f->ts, f->err);

	if (rc == 0)
		rc = mlx_shape_all(f);
	if (rc == 0)
		rc = mlx_check_any(f);
	if (rc)
		return rc;
	qsort(f->counts, f->count_count, sizeof(*f->counts), most_weights);
	f->unit = coded_units(&p->c->arena, f->units);
	rc = f->unit ? 0 : err_memory(f->err);
	if (rc == 0)
		rc = list_entries(f);
	if (rc == 0)
		rc = lay_out_model(f, &layouts[MLX_MODEL]);
	if (rc == 0)
		rc = lay_out_config(f, &layouts[MLX_CONFIG]);
	if (rc == 0)
		rc = mlx_lay_out_readme(f, &layouts[MLX_README]);
	return rc ? rc : mlx_keep_summary(f);
}

/* A plan that fails for lack of memory leaves nothing behind: it is made again. */
static int mlx_plan_late(struct late *late)
{
	struct mlx_view *v = (struct mlx_view *)late;
	struct gptqfs_error err;
	struct mlx_plan f = {.v = v, .err = &err};
	struct layout layouts[MLX_FILES] = {{0}};
	int rc = mlx_plan_contents(&f, layouts);

	if (rc == -ENOTSUP || rc == -EBADMSG) {
		memset(layouts, 0, sizeof(layouts));
		rc = view_refuse(&v->p, late, &err, "This model is not shown for mlx-lm", &layouts[MLX_README]);
	}
	for (int i = 0; rc == 0 && i < MLX_FILES; i++) {
		*v->file[i] = layouts[i];
		tree_count(v->p.tree, layouts[i].size);
	}
	if (rc == 0 && v->late.refusal)
		tree_drop_others(v->p.tree, v->readme);
	text_free(&f.inexact);
	free(f.entries);
	mlx_tensors_free(&f.ts);
	return rc;
}

/* ---- the directory ---- */

/* Names in config.json may be anything, but descriptions of views are ASCII. */
static int mlx_refuse_type(const struct plan *p, const char *type, const char **reason)
{
	struct text text = {0};

	text_string(&text, "mlx-lm changes the tensors of model_type \"");
	text_ascii(&text, type);
	text_string(&text, "\", or what it does to them is unknown");
	*reason = text_keep(&text, &p->c->arena);
	text_free(&text);
	return *reason ? 0 : -ENOMEM;
}

int view_mlx_absent(const struct plan *p, const char **reason)
{
	const char *type = json_str(json_get(p->c->config_json, "model_type"));
	bool codes = false;

	*reason = NULL;
	for (size_t i = 0; i < p->tensors->encoded_count; i++)
		codes |= p->tensors->encoded[i]->encoding->levels || p->tensors->encoded[i]->encoding->lines;
	if (!codes)
		*reason = "no module is made of integer codes";
	else if (!type)
		*reason = "no config.json says what the model is";
	else if (mlx_change_of(type) == MLX_OTHER)
		return mlx_refuse_type(p, type, reason);
	return 0;
}

/* All files of the directory are there once it is planned, or go with it. */
static void mlx_set_late(struct mlx_view *v)
{
	struct tree *tree = v->p.tree;

	for (uint32_t ino = v->dir + 1; ino < tree->count; ino++)
		if (tree->nodes[ino].parent == v->dir && tree->nodes[ino].layout)
			tree_set_late(tree, ino, &v->late);
}

int view_mlx_plan(const struct plan *p, const struct view *view, uint32_t dir)
{
	const char *const names[MLX_FILES] = {
	    "model.safetensors", "config.json", listing_has(&p->c->listing, "README") ? "README.mlx" : "README"};
	const struct stat *const like[MLX_FILES] = {&p->weights, &p->c->config.stat, &p->weights};
	struct mlx_view *v = arena_alloc(&p->c->arena, 1, sizeof(*v));
	int rc = v ? 0 : -ENOMEM;

	if (rc)
		return rc;
	*v = (struct mlx_view){.late = {.plan = mlx_plan_late}, .p = *p, .dir = dir};
	v->change = mlx_change_of(json_str(json_get(p->c->config_json, "model_type")));
	for (int i = 0; rc == 0 && i < MLX_FILES; i++) {
		v->file[i] = arena_alloc(&p->c->arena, 1, sizeof(*v->file[i]));
		v->readme = v->file[i] ? tree_add(p->tree, dir, names[i], v->file[i], like[i]) : 0;
		rc = v->readme ? 0 : -ENOMEM;
	}
	if (rc == 0)
		rc = view_add_companions(p, dir);
	if (rc)
		return rc;
	mlx_set_late(v);
	view_state(p, view)->late = &v->late;
	return 0;
}
