/* SPDX-License-Identifier: MIT */
#include "tensor/join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/encoding.h"
#include "tensor/replacement.h"

/* Rules of the fused views, for any class. Rows are in the order of transformers' Phi-3 and vLLM. */
static const struct join_rule fused_rules[] = {
    {".self_attn.qkv_proj", {".self_attn.q_proj", ".self_attn.k_proj", ".self_attn.v_proj"}},
    {".mlp.gate_up_proj", {".mlp.gate_proj", ".mlp.up_proj"}},
    {0},
};

struct joiner {
	struct arena *arena;
	const struct tensors *ts;
	struct join_refusals *refusals; /* NULL, or apply fused_rules everywhere and record misfits */
	struct replacement r;
};

static const struct tensor *find_sibling(const struct joiner *j, const char *prefix, size_t len, const char *part,
    const char *suffix)
{
	char name[1024];

	if (snprintf(name, sizeof(name), "%.*s%s%s", (int)len, prefix, part, suffix) >= (int)sizeof(name))
		return NULL;
	return tensors_find(j->ts, name);
}

/* A joined tensor of one rule, in the making. */
struct match {
	const char *prefix; /* of module names */
	size_t len;
	const struct join_rule *rule;
	size_t count;
	const struct tensor *weight[JOIN_PARTS_MAX], *bias[JOIN_PARTS_MAX];
	bool has_bias;
};

/* "q_proj" of part i. */
static const char *short_name(const struct match *m, size_t i)
{
	return strrchr(m->rule->part[i], '.') + 1;
}

int join_refuse(struct join_refusals *refusals, struct arena *arena, struct join_refusal refusal)
{
	if (!refusal.module || !refusal.reason)
		return -ENOMEM;
	if (refusals->count == refusals->room) {
		const size_t room = refusals->room * 2 + 16;
		struct join_refusal *list = arena_alloc(arena, room, sizeof(*list));

		if (!list)
			return -ENOMEM;
		if (refusals->count)
			memcpy(list, refusals->list, refusals->count * sizeof(*list));
		refusals->list = list;
		refusals->room = room;
	}
	refusals->list[refusals->count++] = refusal;
	return 0;
}

static int refuse_match(struct joiner *j, const struct match *m, const char *reason)
{
	struct join_refusal refusal = {.reason = reason};

	if (!j->refusals)
		return 0;
	refusal.module = arena_printf(j->arena, "%.*s%s", (int)m->len, m->prefix, m->rule->joined);
	return join_refuse(j->refusals, j->arena, refusal);
}

/* True if part i fits the first. If not, *rc is the result of recording that. */
static bool part_fits(struct joiner *j, const struct match *m, size_t i, int *rc)
{
	const struct tensor *w = m->weight[i], *b = m->bias[i], *first = m->weight[0];
	const char *name = short_name(m, i), *reason;

	if (!w)
		reason = arena_printf(j->arena, "there is no %s", name);
	else if (!tensor_is_float(w))
		reason = arena_printf(j->arena, "%s is of type %s", name, dtype_name(tensor_stored_dtype(w)));
	else if (w->ndim != 2 || (tensor_encoded(w) && tensor_encoded(w)->transposed))
		reason = arena_printf(j->arena, "%s is not a matrix [out_features, in_features]", name);
	else if (w->shape[1] != first->shape[1])
		reason = arena_printf(j->arena, "%s has %llu in_features, %s %llu", short_name(m, 0),
		    (unsigned long long)first->shape[1], name, (unsigned long long)w->shape[1]);
	else if (b && (!tensor_is_float(b) || b->ndim != 1 || b->shape[0] != w->shape[0]))
		reason = arena_printf(j->arena, "the bias of %s is not one number for each of its rows", name);
	else
		return true;
	*rc = refuse_match(j, m, reason);
	return false;
}

/* Finds the parts. Returns true if they can be joined; else *rc is 0 or -ENOMEM. */
static bool match_parts(struct joiner *j, struct match *m, int *rc)
{
	*rc = 0;
	for (m->count = 0; m->count < JOIN_PARTS_MAX && m->rule->part[m->count]; m->count++) {
		const char *part = m->rule->part[m->count];

		m->weight[m->count] = find_sibling(j, m->prefix, m->len, part, ".weight");
		m->bias[m->count] = find_sibling(j, m->prefix, m->len, part, ".bias");
		m->has_bias |= m->bias[m->count] != NULL;
		if (!part_fits(j, m, m->count, rc))
			return false;
	}
	if (!find_sibling(j, m->prefix, m->len, m->rule->joined, ".weight") &&
	    !(j->refusals && find_sibling(j, m->prefix, m->len, m->rule->joined, ".bias")))
		return true;
	*rc = refuse_match(j, m, "a tensor of that name already exists");
	return false;
}

/* Zeros in the shape of the bias that a weight lacks. */
static const struct tensor *missing_bias(struct joiner *j, const struct tensor *weight)
{
	struct tensor *t = arena_alloc(j->arena, 1, sizeof(*t));

	if (t)
		*t = (struct tensor){.name = "", .shape = weight->shape, .ndim = 1, .origin = TENSOR_ZEROS};
	return t;
}

static int add_joined(struct joiner *j, const struct match *m, const struct tensor *const *parts, const char *suffix)
{
	struct tensor *t = &j->r.made[j->r.made_count];
	const struct tensor **list = arena_alloc(j->arena, m->count, sizeof(*list));
	uint64_t *shape = arena_alloc(j->arena, 2, sizeof(*shape));

	if (!list || !shape)
		return -ENOMEM;
	for (size_t i = 0; i < m->count; i++) {
		list[i] = parts[i] ? parts[i] : missing_bias(j, m->weight[i]);
		if (!list[i])
			return -ENOMEM;
		if (parts[i])
			replacement_use(&j->r, parts[i]);
		shape[0] += list[i]->shape[0];
	}
	shape[1] = list[0]->ndim == 2 ? list[0]->shape[1] : 0;
	*t = (struct tensor){
	    .shape = shape, .ndim = list[0]->ndim, .origin = TENSOR_JOINED, .parts = list, .part_count = m->count};
	t->name = arena_printf(j->arena, "%.*s%s%s", (int)m->len, m->prefix, m->rule->joined, suffix);
	if (!t->name)
		return -ENOMEM;
	j->r.made_count++;
	return 0;
}

/* Joins the tensor with others if it is the first part of a rule. */
static int try_rule(struct joiner *j, const struct tensor *t, const struct join_rule *rule)
{
	struct match m = {.prefix = t->name, .rule = rule};
	const size_t tail = strlen(rule->part[0]) + strlen(".weight"), len = strlen(t->name);
	int rc;

	if (len < tail || strncmp(t->name + len - tail, rule->part[0], strlen(rule->part[0])) != 0 ||
	    !ends_with(t->name, ".weight") || (!j->refusals && !architecture_joins(t->name)))
		return 0;
	m.len = len - tail;
	if (!match_parts(j, &m, &rc))
		return rc;
	rc = add_joined(j, &m, m.weight, ".weight");
	return rc || !m.has_bias ? rc : add_joined(j, &m, m.bias, ".bias");
}

static int join_all(struct joiner *j, const struct join_rule *rules)
{
	int rc = replacement_begin(&j->r, j->arena, j->ts);

	if (rc)
		return rc;
	for (const struct join_rule *rule = rules; rule && rule->joined; rule++)
		for (size_t i = 0; rc == 0 && i < j->ts->count; i++)
			if (!j->r.used[i])
				rc = try_rule(j, &j->ts->list[i], rule);
	return rc;
}

int join_tensors(struct arena *arena, struct tensors *ts, const struct join_rule *rules)
{
	struct joiner j = {.arena = arena, .ts = ts};
	int rc = join_all(&j, rules);

	return rc || !j.r.made_count ? rc : replacement_finish(&j.r, arena, ts);
}

int join_fused(struct arena *arena, const struct tensors *ts, struct tensors *fused, struct join_refusals *refusals)
{
	struct joiner j = {.arena = arena, .ts = ts, .refusals = refusals};
	int rc = join_all(&j, fused_rules);

	return rc ? rc : replacement_finish(&j.r, arena, fused);
}

const struct join_rule *join_rule_of(const char *module, size_t len)
{
	for (const struct join_rule *rule = fused_rules; rule->joined; rule++) {
		const size_t tail = strlen(rule->joined);

		if (len >= tail && memcmp(module + len - tail, rule->joined, tail) == 0)
			return rule;
	}
	return NULL;
}
