/* SPDX-License-Identifier: MIT */

/* Finds the joined tensors that can also be joined in packed form. */

#include "quant/repack.h"

#include <errno.h>
#include <string.h>

struct packer {
	struct arena *arena;
	const struct tensors *fused;
	struct tensors *out;
	struct join_refusals *refusals;
};

/* Returns the operations that all quantized modules share, or NULL. */
static const struct repack_ops *repack_of(const struct tensors *ts)
{
	const struct repack_ops *ops = ts->encoded_count ? ts->encoded[0]->encoding->repack : NULL;

	for (size_t i = 1; i < ts->encoded_count; i++)
		if (ts->encoded[i]->encoding->repack != ops)
			return NULL;
	return ops;
}

int repack_find(struct arena *arena, const struct tensors *ts, const struct repack_ops **ops, const char **reason)
{
	int rc = 0;

	*ops = repack_of(ts);
	*reason = "modules of this model's format cannot be joined in packed form";
	if (*ops)
		rc = (*ops)->refuse(arena, ts, reason);
	if (*reason)
		*ops = NULL;
	return rc;
}

/* ---- reasons: NULL if there is none ---- */

static const char *unlike_parts(struct arena *arena, const struct tensor *a, const struct tensor *b)
{
	const struct repack_pair p = {
	    arena, tensor_encoded(a), tensor_encoded(b), tensor_short_name(a, arena), tensor_short_name(b, arena)};

	if (!p.first_name || !p.other_name)
		return NULL;
	if (p.first && p.other)
		return p.first->encoding->repack->unlike(&p);
	if (p.first || p.other)
		return arena_printf(arena, "%s is quantized, %s is not", p.first ? p.first_name : p.other_name,
		    p.first ? p.other_name : p.first_name);
	if (tensor_stored_dtype(a) != tensor_stored_dtype(b))
		return arena_printf(arena, "%s is %s, %s %s", p.first_name, dtype_name(tensor_stored_dtype(a)),
		    p.other_name, dtype_name(tensor_stored_dtype(b)));
	return NULL;
}

static const struct tensor *sibling_of(const struct packer *k, const struct tensor *weight, const char *suffix)
{
	const size_t len = strlen(weight->name) - strlen(".weight");
	const char *name = arena_printf(k->arena, "%.*s%s", (int)len, weight->name, suffix);

	return name ? tensors_find(k->fused, name) : NULL;
}

/* Biases are not quantized, so they must have the same type to be joined. */
static const char *unlike_biases(const struct packer *k, const struct tensor *weight)
{
	const struct tensor *bias = sibling_of(k, weight, ".bias");
	const struct tensor *const *parts;
	enum dtype first = DTYPE_COUNT;
	size_t count;

	if (!bias)
		return NULL;
	parts = tensor_parts(&bias, &count);
	for (size_t i = 0; i < count; i++) {
		const enum dtype dtype = tensor_stored_dtype(parts[i]);

		if (dtype != DTYPE_COUNT && first != DTYPE_COUNT && dtype != first)
			return arena_printf(k->arena, "one bias is %s, another %s", dtype_name(first),
			    dtype_name(dtype));
		if (dtype != DTYPE_COUNT)
			first = dtype;
	}
	return NULL;
}

static const char *taken_name(const struct packer *k, const struct tensor *weight)
{
	const char *const *suffix = k->out->encoded[0]->encoding->repack->suffixes;

	for (; *suffix; suffix++)
		if (sibling_of(k, weight, *suffix))
			return arena_printf(k->arena, "another tensor is named %s", *suffix + 1);
	return NULL;
}

/* Returns why a joined weight cannot be joined in packed form, or NULL. */
static const char *repack_misfit_of(const struct packer *k, const struct tensor *weight)
{
	const char *reason = taken_name(k, weight);

	for (size_t i = 1; !reason && i < weight->part_count; i++)
		reason = unlike_parts(k->arena, weight->parts[0], weight->parts[i]);
	return reason ? reason : unlike_biases(k, weight);
}

/* ---- the list ---- */

static int refuse_weight(struct packer *k, const struct tensor *weight, const char *reason)
{
	const size_t len = strlen(weight->name) - strlen(".weight");

	return join_refuse(k->refusals, k->arena,
	    (struct join_refusal){arena_strndup(k->arena, weight->name, len), reason, true});
}

static int add_packed(struct packer *k, const struct tensor *t)
{
	const bool is_weight = ends_with(t->name, ".weight");
	const struct tensor *weight = t;
	const char *name, *reason;

	if (!is_weight) {
		name = arena_printf(k->arena, "%.*s.weight", (int)(strlen(t->name) - strlen(".bias")), t->name);
		weight = name ? tensors_find(k->fused, name) : NULL;
		if (!weight)
			return -ENOMEM;
	}
	reason = repack_misfit_of(k, weight);
	if (k->arena->failed)
		return -ENOMEM; /* there may be a reason, but no memory for its words */
	if (!reason) {
		k->out->list[k->out->count++] = *t;
		return 0;
	}
	/* A missing bias, which counts as zeros only when joined, has no name. */
	for (size_t i = 0; i < t->part_count; i++)
		if (*t->parts[i]->name)
			k->out->list[k->out->count++] = *t->parts[i];
	return is_weight ? refuse_weight(k, t, reason) : 0;
}

static size_t parts_of(const struct tensor *t, const struct tensor *const **parts)
{
	size_t count;

	*parts = tensor_parts(&t, &count);
	return count;
}

int repack_join(struct arena *arena, const struct tensors *fused, struct tensors *packed,
    struct join_refusals *refusals)
{
	struct packer k = {arena, fused, packed, refusals};
	const struct tensor *const *parts;
	size_t room = 0;
	int rc = 0;

	for (size_t i = 0; i < fused->count; i++)
		room += parts_of(&fused->list[i], &parts);
	*packed = *fused;
	packed->count = 0;
	packed->list = arena_alloc(arena, room, sizeof(*packed->list));
	if (!packed->list)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < fused->count; i++)
		if (fused->list[i].origin == TENSOR_JOINED)
			rc = add_packed(&k, &fused->list[i]);
		else if (fused->list[i].origin == TENSOR_STACKED)
			/* Only dense models have stacks. */
			for (size_t n = 0, count = parts_of(&fused->list[i], &parts); n < count; n++)
				packed->list[packed->count++] = *parts[n];
		else
			packed->list[packed->count++] = fused->list[i];
	tensors_sort(packed);
	return rc;
}
