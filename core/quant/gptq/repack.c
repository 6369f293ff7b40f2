/* SPDX-License-Identifier: MIT */

/* Which GPTQ modules can be joined in packed form, and the table of operations. */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "quant/gptq/packed.h"
#include "quant/gptq/packed_config.h"

/* ---- reasons: NULL if there is none ---- */

static uint32_t effective_group_size(const struct qtensor *q)
{
	return q->group_size < q->in_features ? q->group_size : q->in_features;
}

static const char *unlike_groups(const struct repack_pair *p, const struct qtensor *a, const struct qtensor *b)
{
	if (!a->g_idx && !b->g_idx && effective_group_size(a) != effective_group_size(b))
		return arena_printf(p->arena, "%s has groups of %u in_features, %s of %u", p->first_name,
		    effective_group_size(a), p->other_name, effective_group_size(b));
	if (a->groups != b->groups)
		return arena_printf(p->arena, "%s has %u groups, %s %u", p->first_name, a->groups, p->other_name,
		    b->groups);
	if (!a->g_idx != !b->g_idx ||
	    (a->g_idx && a->g_idx != b->g_idx && memcmp(a->g_idx, b->g_idx, (size_t)a->in_features * 4) != 0))
		return arena_printf(p->arena, "%s and %s differ in g_idx", p->first_name, p->other_name);
	return NULL;
}

static const char *unlike_modules(const struct repack_pair *p)
{
	const struct gptq_form_ops *ops = p->first->encoding->gptq;
	struct gptq_form a = {0}, b = {0};

	if (p->other->encoding->gptq != ops)
		return arena_printf(p->arena, "%s and %s are stored in different ways", p->first_name, p->other_name);
	ops->describe(p->first, &a);
	ops->describe(p->other, &b);
	if (a.q.bits != b.q.bits)
		return arena_printf(p->arena, "%s has %d bits, %s %d", p->first_name, a.q.bits, p->other_name,
		    b.q.bits);
	if (a.q.word_bits != b.q.word_bits)
		return arena_printf(p->arena, "%s is packed in words of %d bits, %s of %d", p->first_name,
		    a.q.word_bits, p->other_name, b.q.word_bits);
	if (a.q.packing != b.q.packing || a.stored != b.stored)
		return arena_printf(p->arena, "%s and %s are packed by different conventions", p->first_name,
		    p->other_name);
	if (a.q.scale_dtype != b.q.scale_dtype)
		return arena_printf(p->arena, "the scales of %s are %s, of %s %s", p->first_name,
		    dtype_name(a.q.scale_dtype), p->other_name, dtype_name(b.q.scale_dtype));
	return unlike_groups(p, &a.q, &b.q);
}

/* ---- models that cannot be packed ---- */

#define CANNOT "modules cannot be joined in packed form"

/* Returns a name that the form needs but a tensor of the model already has; NULL if there is none. */
static const char *taken_suffix(const struct tensors *ts, const struct tensor *weight)
{
	const size_t len = strlen(weight->name) - strlen(".weight");
	char name[1024];

	for (const char *const *suffix = gptq_suffixes; *suffix; suffix++)
		if (snprintf(name, sizeof(name), "%.*s%s", (int)len, weight->name, *suffix) < (int)sizeof(name) &&
		    tensors_find(ts, name))
			return *suffix;
	return NULL;
}

/* Returns why a weight of that form is not made into it, as words after the module's name; or NULL. */
static const char *beyond_form(const struct gptq_form *form)
{
	if (form->q.scale_dtype == DTYPE_F32)
		return "has scales of type F32, which programs that run GPTQ would round";
	return form->q.out_features > GPTQ_FORM_COLUMNS_MAX ? "has more outputs than are made into columns" : NULL;
}

/* A weight; more is asked of one of another family. */
static int refuse_form(struct arena *arena, const struct tensors *ts, const struct tensor *t, const char **reason)
{
	const struct encoded *e = tensor_encoded(t);
	struct gptq_form form = {0};
	const bool own = e->encoding == &gptq_encoding;
	const char *why = e->encoding->gptq->describe(e, &form), *taken = own ? NULL : taken_suffix(ts, t);

	if (!why && !own)
		why = beyond_form(&form);
	if (why)
		*reason = arena_printf(arena, "%s %s: " CANNOT, e->module, why);
	else if (taken)
		*reason = arena_printf(arena, "a tensor is named %s%s already: " CANNOT, e->module, taken);
	else
		return 0;
	return *reason ? 0 : -ENOMEM;
}

/* GPTQ's own weights have a configuration that says how zeros are stored, and cannot be mixed with others. */
static int refuse_model(struct arena *arena, const struct tensors *ts, const char **reason)
{
	const bool own = ts->encoded[0]->encoding == &gptq_encoding;
	int rc = 0;

	*reason = NULL;
	for (size_t i = 1; i < ts->encoded_count; i++)
		if ((ts->encoded[i]->encoding == &gptq_encoding) != own)
			*reason = "weights of GPTQ and of another format: " CANNOT;
	for (size_t i = 0; rc == 0 && !*reason && i < ts->count; i++) {
		const struct tensor *t = &ts->list[i];
		size_t count;
		const struct tensor *const *parts = tensor_parts(&t, &count);

		for (size_t k = 0; rc == 0 && !*reason && k < count; k++)
			if (tensor_encoded(parts[k]))
				rc = refuse_form(arena, ts, parts[k], reason);
	}
	return rc;
}

const struct repack_ops gptq_repack = {
    .suffixes = gptq_suffixes,
    .refuse = refuse_model,
    .unlike = unlike_modules,
    .list = packed_list,
    .extents = packed_extents,
    .append = packed_append,
    .parameters = packed_parameters,
    .configure = packed_config_write,
};
