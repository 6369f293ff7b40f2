/* SPDX-License-Identifier: MIT */
#include "quant/quant.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "quant/activations.h"
#include "quant/comfy.h"
#include "quant/family.h"
#include "quant/gptq/config.h"
#include "quant/scaled.h"
#include "quant/unsupported.h"
#include "tensor/complete.h"
#include "tensor/join.h"
#include "tensor/stack.h"

static const struct family *const families[] = {&awq_family, &gptq_family, &bnb_family, &fp4_family, &fp8_family,
    &compressed_family, &mlx_family, &gemma_family, &hqq_family};

/* Marlin's tensors are X.B and X.s; either name alone is too short to mean anything. */
static bool is_marlin(const struct opening *o, const struct st_tensor *t)
{
	return t->dtype == DTYPE_I32 && opening_beside(o, t, ".B", ".s");
}

/* Formats that are recognised by their tensors, even without a configuration. */
static int refuse_tensors(const struct opening *o)
{
	struct foreign found = {0};
	const struct st_tensor *first = NULL;

	for (size_t i = 0; !first && i < o->c->tensor_count; i++) {
		const struct st_tensor *t = &o->c->tensors[i];

		if (o->taken[i])
			continue;
		found = foreign_by_tensor(t->name, t->dtype);
		if (!found.what && is_marlin(o, t))
			found = foreign_by_label("marlin");
		if (found.what)
			first = t;
	}
	if (!first)
		return 0;
	return err_set(o->err, -ENOTSUP, "%s: tensor %.200s belongs to %s, which is not supported; %s",
	    opening_file(o, first), first->name, found.what, found.remedy);
}

/* Refuses weights of a few bits with a scale, of any name, that no family took: alone they mean nothing. */
static int refuse_scaled(const struct opening *o)
{
	struct scaled found;
	int rc = scaled_find(o->c, o->taken, &found);

	if (rc <= 0)
		return rc ? err_memory(o->err) : 0;
	return err_set(o->err, -ENOTSUP,
	    "%s: tensor %.200s is %s, and %.200s looks like its scale: this way of storing weights is not supported; "
	    "fetch the GPTQ version of the model, or one that is not quantized",
	    opening_file(o, found.weight), found.weight->name, dtype_name(found.weight->dtype), found.scale->name);
}

/* True for integers that are named as codes are which families decode. */
static bool looks_like_codes(const struct st_tensor *t)
{
	return t->dtype >= DTYPE_U8 && t->dtype <= DTYPE_I64 && t->ndim >= 2 && ends_with(t->name, ".weight");
}

/* Refuses what looks like the codes of other modules, if no family took it: its scale was lost. */
static int refuse_lost(const struct opening *o)
{
	const char *decoded[DTYPE_COUNT] = {NULL};

	for (size_t i = 0; i < o->c->tensor_count; i++)
		if (o->taken[i] && looks_like_codes(&o->c->tensors[i]))
			decoded[o->c->tensors[i].dtype] = o->c->tensors[i].name;
	for (size_t i = 0; i < o->c->tensor_count; i++) {
		const struct st_tensor *t = &o->c->tensors[i];

		if (!o->taken[i] && looks_like_codes(t) && decoded[t->dtype])
			return err_set(o->err, -EBADMSG,
			    "%s: tensor %.200s is %s like %.200s, but has no scale; fetch the model again",
			    opening_file(o, t), t->name, dtype_name(t->dtype), decoded[t->dtype]);
	}
	return 0;
}

static int refuse_method(void *ctx, const char *where, const struct json *config)
{
	const struct opening *o = ctx;
	const char *method = json_str(json_get(config, "quant_method"));
	const struct foreign found = foreign_by_label(method ? method : "");

	if (!found.what)
		return 0;
	return err_set(o->err, -ENOTSUP,
	    found.served ? "%s: quant_method is \"%.80s\", but no tensor is stored as in %s; %s"
			 : "%s: quant_method is \"%.80s\": %s is not supported; %s",
	    where, method, found.what, found.remedy);
}

/* Formats that only a configuration reveals, because their tensors look ordinary. */
static int refuse_label(struct opening *o)
{
	const struct json *mlx = json_get(o->c->config_json, "quantization");

	if (json_get(mlx, "group_size") && json_get(mlx, "bits"))
		return err_set(o->err, -ENOTSUP,
		    "config.json: \"quantization\" is MLX's, but no tensor is in MLX's form; fetch the model "
		    "again");
	return opening_configs(o, refuse_method, o);
}

static int refuse_unquantized(struct opening *o)
{
	int rc = refuse_label(o);

	return rc || o->c->unquantized
	           ? rc
	           : err_set(o->err, -ENOTSUP,
			 "%s: no quantized tensors (such as names that end in .qweight): the model is not quantized; "
			 "use the directory as it is",
			 o->c->dir.path);
}

/* True for F8, whose bytes are numbers even if no family decodes them. */
static bool is_f8(const struct st_tensor *s)
{
	return s->dtype < DTYPE_CASTS && !dtype_is_cast(s->dtype);
}

/* True if a family left something out, although it decodes nothing, or a tensor is a float that few programs read. */
static bool quant_has_work(const struct opening *o)
{
	for (size_t i = 0; i < o->c->tensor_count; i++)
		if (o->taken[i] || is_f8(&o->c->tensors[i]))
			return true;
	return false;
}

static int quant_add_stored(struct opening *o)
{
	size_t tiny = 0;

	for (size_t i = 0; i < o->c->tensor_count; i++) {
		const struct st_tensor *s = &o->c->tensors[i];
		const struct tensor t = {
		    .name = s->name, .shape = s->shape, .ndim = s->ndim, .origin = TENSOR_STORED, .stored = s};

		if (o->taken[i])
			continue;
		if (opening_put(o, &t))
			return -ENOMEM;
		tiny += is_f8(s);
	}
	if (tiny)
		checkpoint_warn(o->c, "%zu F8 tensors have no scale anywhere; decoded as plain numbers", tiny);
	return 0;
}

static void warn_tallies(const struct opening *o)
{
	for (size_t i = 0; i < OPENING_TALLIES && o->tallies[i].what; i++)
		checkpoint_warn(o->c, "%zu module%s (the first: %s): %s%s", o->tallies[i].count,
		    o->tallies[i].count > 1 ? "s" : "", o->tallies[i].module, o->tallies[i].what, o->tallies[i].then);
}

/* Loaders ignore a stored head if the configuration ties it to the embedding. */
static void warn_tied_head(const struct opening *o)
{
	if (!architecture_ties_head(o->c->config_json, false))
		return;
	for (size_t i = 0; i < o->out->encoded_count; i++) {
		const char *module = o->out->encoded[i]->module;

		if (!ends_with(module, "lm_head"))
			continue;
		checkpoint_warn(o->c,
		    "config.json ties lm_head to the embedding, but there is a quantized %.200s: loaders ignore "
		    "the latter",
		    module);
		return;
	}
}

/* Returns a name that two tensors have, or NULL. Floats and others are sorted separately. */
static const char *name_twice(const struct tensors *ts)
{
	const struct tensors floats = {.list = ts->list, .count = ts->float_count, .float_count = ts->float_count};

	for (size_t i = 1; i < ts->count; i++)
		if (strcmp(ts->list[i - 1].name, ts->list[i].name) == 0)
			return ts->list[i].name;
	for (size_t i = ts->float_count; i < ts->count; i++)
		if (tensors_find(&floats, ts->list[i].name))
			return ts->list[i].name;
	return NULL;
}

/* Gives tensors the names and shapes that the class expects. */
static int fit_architecture(struct opening *o)
{
	struct tensors *ts = o->out;
	const char *twice;

	for (size_t i = 0; i < ts->count; i++) {
		ts->list[i].name = architecture_rename(o->architecture, ts->list[i].name, &o->c->arena);
		if (!ts->list[i].name)
			return err_memory(o->err);
	}
	tensors_sort(ts);
	if (join_tensors(&o->c->arena, ts, o->architecture->joins) || stack_experts(o->c, ts))
		return err_memory(o->err);
	twice = name_twice(ts);
	if (twice)
		return err_set(o->err, -EBADMSG,
		    "%s: two tensors would be named %.200s in the dense model; remove the one that does not "
		    "belong to it",
		    o->c->dir.path, twice);
	return complete_check(o->c, ts, o->err);
}

/* Rotations that a runtime undoes in activations, whatever the weights are stored as. */
static int refuse_transforms(void *ctx, const char *where, const struct json *config)
{
	const struct opening *o = ctx;

	if (!json_first(json_get(json_get(config, "transform_config"), "config_groups")))
		return quant_config_refuse_rotation(where, config, o->err);
	return err_set(o->err, -ENOTSUP,
	    "%s: transform_config: the weights were rotated, and ordinary classes lack the other half of that; fetch a "
	    "version that was quantized without transforms",
	    where);
}

static int open_families(struct opening *o)
{
	int rc = opening_configs(o, refuse_transforms, o);

	if (rc == 0)
		rc = refuse_transforms(o, "config.json", json_get(o->c->config_json, "compression_config"));
	if (rc == 0)
		rc = comfy_refuse(o);
	for (size_t i = 0; rc == 0 && i < sizeof(families) / sizeof(*families); i++)
		if (families[i]->claims(o))
			rc = families[i]->open(o);
	if (rc == 0)
		rc = activations_hide(o);
	if (rc == 0)
		rc = refuse_tensors(o);
	if (rc == 0)
		rc = refuse_scaled(o);
	if (rc == 0)
		rc = refuse_lost(o);
	if (rc == 0 && !o->out->encoded_count && !quant_has_work(o))
		rc = refuse_unquantized(o);
	if (rc == 0)
		rc = quant_add_stored(o);
	if (rc)
		return rc;
	warn_tallies(o);
	warn_tied_head(o);
	return fit_architecture(o);
}

int quant_open(struct checkpoint *c, struct tensors *out, struct gptqfs_error *err)
{
	struct opening o = {.c = c, .out = out, .err = err, .architecture = architecture_find(c->config_json)};

	architecture_tables(c->config_json, &o.tables);
	architecture_biases(c->config_json, &o.biases);
	o.room = o.encoded_room = c->tensor_count;
	out->list = arena_alloc(&c->arena, c->tensor_count, sizeof(*out->list));
	out->encoded = arena_alloc(&c->arena, c->tensor_count, sizeof(*out->encoded));
	o.taken = arena_alloc(&c->arena, c->tensor_count, sizeof(*o.taken));
	if (!out->list || !out->encoded || !o.taken)
		return err_memory(err);
	return open_families(&o);
}
