/* SPDX-License-Identifier: MIT */

/* Which joined tensors can also be joined as they are packed. */

#include <errno.h>
#include <string.h>

#include "tensor/join.h"

struct packer {
	struct arena *arena;
	const struct source *fused;
	struct tensor *list; /* of the packed view */
	size_t count;
	struct join_refusal *apart;
	size_t apart_count;
};

/* Two parts of a joined tensor, the first of all and another, by their short names. */
struct pair {
	struct arena *arena;
	const char *name, *other_name;
};

/* "q_proj" of "model.layers.0.self_attn.q_proj.weight" */
static const char *short_name(struct arena *arena, const struct tensor *t)
{
	const size_t len = strlen(t->name) - strlen(".weight");
	const char *from = t->name + len;

	while (from > t->name && from[-1] != '.')
		from--;
	return arena_strndup(arena, from, (size_t)(t->name + len - from));
}

/* ---- reasons: NULL if there is none ---- */

static const char *unlike_types(const struct pair *p, enum dtype a, enum dtype b)
{
	return a == b ? NULL
	              : arena_printf(p->arena, "%s is %s, %s %s", p->name, dtype_name(a), p->other_name, dtype_name(b));
}

static uint32_t group_size(const struct qtensor *q)
{
	return q->group_size < q->in_features ? q->group_size : q->in_features;
}

static const char *unlike_groups(const struct pair *p, const struct qtensor *a, const struct qtensor *b)
{
	if (!a->g_idx && !b->g_idx && group_size(a) != group_size(b))
		return arena_printf(p->arena, "%s has groups of %u in_features, %s of %u", p->name, group_size(a),
		    p->other_name, group_size(b));
	if (a->groups != b->groups)
		return arena_printf(p->arena, "%s has %u groups, %s %u", p->name, a->groups, p->other_name, b->groups);
	if (!a->g_idx != !b->g_idx ||
	    (a->g_idx && a->g_idx != b->g_idx && memcmp(a->g_idx, b->g_idx, (size_t)a->in_features * 4) != 0))
		return arena_printf(p->arena, "%s and %s differ in g_idx", p->name, p->other_name);
	return NULL;
}

static const char *unlike_modules(const struct pair *p, const struct module *a, const struct module *b)
{
	if (a->q.bits != b->q.bits)
		return arena_printf(p->arena, "%s has %d bits, %s %d", p->name, a->q.bits, p->other_name, b->q.bits);
	if (a->q.word_bits != b->q.word_bits)
		return arena_printf(p->arena, "%s is packed in words of %d bits, %s of %d", p->name, a->q.word_bits,
		    p->other_name, b->q.word_bits);
	if (a->q.packing != b->q.packing || a->convention != b->convention)
		return arena_printf(p->arena, "%s and %s are packed by different conventions", p->name, p->other_name);
	if (a->q.scale_dtype != b->q.scale_dtype)
		return arena_printf(p->arena, "the scales of %s are %s, of %s %s", p->name,
		    dtype_name(a->q.scale_dtype), p->other_name, dtype_name(b->q.scale_dtype));
	return unlike_groups(p, &a->q, &b->q);
}

static const char *unlike_parts(struct arena *arena, const struct tensor *a, const struct tensor *b)
{
	const struct pair p = {arena, short_name(arena, a), short_name(arena, b)};

	if (!p.name || !p.other_name)
		return "there is no memory to say why";
	if (a->module && b->module)
		return unlike_modules(&p, a->module, b->module);
	if (a->stored && b->stored)
		return unlike_types(&p, a->stored->dtype, b->stored->dtype);
	return arena_printf(arena, "%s is quantized, %s is not", a->module ? p.name : p.other_name,
	    a->module ? p.other_name : p.name);
}

static const struct tensor *sibling(const struct packer *k, const struct tensor *weight, const char *suffix)
{
	const size_t len = strlen(weight->name) - strlen(".weight");
	const char *name = arena_printf(k->arena, "%.*s%s", (int)len, weight->name, suffix);

	return name ? source_find(k->fused, name) : NULL;
}

/* Biases are not quantized, so they must be of one type to follow one another. */
static const char *unlike_biases(const struct packer *k, const struct tensor *weight)
{
	const struct tensor *bias = sibling(k, weight, ".bias"), *first = NULL;

	for (size_t i = 0; bias && i < bias->part_count; i++) {
		const struct tensor *b = bias->parts[i];

		if (!b->stored)
			continue;
		first = first ? first : b;
		if (b->stored->dtype != first->stored->dtype)
			return arena_printf(k->arena, "one bias is %s, another %s", dtype_name(first->stored->dtype),
			    dtype_name(b->stored->dtype));
	}
	return NULL;
}

static const char *taken_name(const struct packer *k, const struct tensor *weight)
{
	static const char *const suffixes[] = {".qweight", ".qzeros", ".scales", ".g_idx"};

	for (int i = 0; i < 4; i++)
		if (sibling(k, weight, suffixes[i]))
			return arena_printf(k->arena, "there is another tensor of the name %s", suffixes[i] + 1);
	return NULL;
}

/* Why a joined weight cannot be joined as it is packed. */
static const char *misfit(const struct packer *k, const struct tensor *weight)
{
	const char *reason = taken_name(k, weight);

	for (size_t i = 1; !reason && i < weight->part_count; i++)
		reason = unlike_parts(k->arena, weight->parts[0], weight->parts[i]);
	return reason ? reason : unlike_biases(k, weight);
}

/* ---- the list ---- */

static int refuse(struct packer *k, const struct tensor *weight, const char *reason)
{
	struct join_refusal *r = &k->apart[k->apart_count++];

	*r = (struct join_refusal){.reason = reason, .packed = true};
	r->module = arena_strndup(k->arena, weight->name, strlen(weight->name) - strlen(".weight"));
	return r->module ? 0 : -ENOMEM;
}

static int add_joined(struct packer *k, const struct tensor *t)
{
	const bool is_weight = ends_with(t->name, ".weight");
	const struct tensor *weight = t;
	const char *name, *reason;

	if (!is_weight) {
		name = arena_printf(k->arena, "%.*s.weight", (int)(strlen(t->name) - strlen(".bias")), t->name);
		weight = name ? source_find(k->fused, name) : NULL;
		if (!weight)
			return -ENOMEM;
	}
	reason = misfit(k, weight);
	if (!reason) {
		k->list[k->count++] = *t;
		return 0;
	}
	/* A missing bias, which only counts as zeros where it is joined, has no name. */
	for (size_t i = 0; i < t->part_count; i++)
		if (*t->parts[i]->name)
			k->list[k->count++] = *t->parts[i];
	return is_weight ? refuse(k, t, reason) : 0;
}

int join_packed(struct arena *arena, struct source *s, const struct source *fused, struct source *packed)
{
	struct packer k = {.arena = arena, .fused = fused};
	size_t room = 0, joined = 0;
	int rc = 0;

	for (size_t i = 0; i < fused->tensor_count; i++) {
		room += fused->tensors[i].parts ? fused->tensors[i].part_count : 1;
		joined += fused->tensors[i].parts != NULL;
	}
	k.list = arena_alloc(arena, room, sizeof(*k.list));
	k.apart = arena_alloc(arena, s->apart_count + joined, sizeof(*k.apart));
	if (!k.list || !k.apart)
		return -ENOMEM;
	if (s->apart_count)
		memcpy(k.apart, s->apart, s->apart_count * sizeof(*k.apart));
	k.apart_count = s->apart_count;
	for (size_t i = 0; rc == 0 && i < fused->tensor_count; i++)
		if (fused->tensors[i].parts)
			rc = add_joined(&k, &fused->tensors[i]);
		else
			k.list[k.count++] = fused->tensors[i];
	s->apart = k.apart;
	s->apart_count = k.apart_count;
	*packed = *fused;
	packed->tensors = k.list;
	packed->tensor_count = k.count;
	source_sort(packed);
	return rc;
}
