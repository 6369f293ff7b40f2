/* SPDX-License-Identifier: MIT */
#include "join.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct joiner {
	struct arena *arena;
	const struct source *s;
	struct tensor *made; /* joined tensors */
	size_t made_count;
	bool *used; /* [s->tensor_count] */
	size_t used_count;
};

static const struct tensor *find(const struct joiner *j, const char *prefix, size_t len, const char *part,
    const char *suffix)
{
	char name[1024];

	if (snprintf(name, sizeof(name), "%.*s%s%s", (int)len, prefix, part, suffix) >= (int)sizeof(name))
		return NULL;
	return source_find(j->s, name);
}

static bool is_float(const struct tensor *t)
{
	return t && (!t->stored || dtype_is_cast(t->stored->dtype));
}

/* A tensor of one rule: its parts where they fit together. */
struct match {
	const char *prefix; /* of module names */
	size_t len;
	const struct join_rule *rule;
	size_t count;
	const struct tensor *weight[JOIN_PARTS_MAX], *bias[JOIN_PARTS_MAX];
	bool has_bias;
};

static bool match_parts(const struct joiner *j, struct match *m)
{
	for (m->count = 0; m->count < JOIN_PARTS_MAX && m->rule->part[m->count]; m->count++) {
		const char *part = m->rule->part[m->count];
		const struct tensor *w = find(j, m->prefix, m->len, part, ".weight");
		const struct tensor *b = find(j, m->prefix, m->len, part, ".bias");

		if (!is_float(w) || w->ndim != 2 || w->shape[1] != m->weight[0]->shape[1])
			return false;
		if (b && (!is_float(b) || b->ndim != 1 || b->shape[0] != w->shape[0]))
			return false;
		m->weight[m->count] = w;
		m->bias[m->count] = b;
		m->has_bias |= b != NULL;
	}
	return !find(j, m->prefix, m->len, m->rule->joined, ".weight");
}

static void use(struct joiner *j, const struct tensor *t)
{
	const size_t i = (size_t)(t - j->s->tensors);

	j->used_count += !j->used[i];
	j->used[i] = true;
}

/* Zeros in the shape of the bias that a weight lacks. */
static const struct tensor *missing_bias(struct joiner *j, const struct tensor *weight)
{
	struct tensor *t = arena_alloc(j->arena, 1, sizeof(*t));

	if (t)
		*t = (struct tensor){.name = "", .shape = weight->shape, .ndim = 1};
	return t;
}

static int add_joined(struct joiner *j, const struct match *m, const struct tensor *const *parts, const char *suffix)
{
	struct tensor *t = &j->made[j->made_count];
	const struct tensor **list = arena_alloc(j->arena, m->count, sizeof(*list));
	uint64_t *shape = arena_alloc(j->arena, 2, sizeof(*shape));

	if (!list || !shape)
		return -ENOMEM;
	for (size_t i = 0; i < m->count; i++) {
		list[i] = parts[i] ? parts[i] : missing_bias(j, m->weight[i]);
		if (!list[i])
			return -ENOMEM;
		if (parts[i])
			use(j, parts[i]);
		shape[0] += list[i]->shape[0];
	}
	shape[1] = list[0]->ndim == 2 ? list[0]->shape[1] : 0;
	*t = (struct tensor){.shape = shape, .ndim = list[0]->ndim, .parts = list, .part_count = m->count};
	t->name = arena_printf(j->arena, "%.*s%s%s", (int)m->len, m->prefix, m->rule->joined, suffix);
	if (!t->name)
		return -ENOMEM;
	j->made_count++;
	return 0;
}

/* Is this tensor the first part of the rule? Then joins it and the others. */
static int try_rule(struct joiner *j, const struct tensor *t, const struct join_rule *rule)
{
	struct match m = {.prefix = t->name, .rule = rule, .weight = {t}};
	const size_t tail = strlen(rule->part[0]) + strlen(".weight"), len = strlen(t->name);
	int rc;

	if (len < tail || strncmp(t->name + len - tail, rule->part[0], strlen(rule->part[0])) != 0 ||
	    !ends_with(t->name, ".weight") || !architecture_joins(t->name))
		return 0;
	m.len = len - tail;
	if (!match_parts(j, &m))
		return 0;
	rc = add_joined(j, &m, m.weight, ".weight");
	return rc || !m.has_bias ? rc : add_joined(j, &m, m.bias, ".bias");
}

int join_tensors(struct arena *arena, struct source *s, const struct join_rule *rules)
{
	struct joiner j = {.arena = arena, .s = s};
	struct tensor *list;
	size_t n = 0;
	int rc = 0;

	j.made = arena_alloc(arena, s->tensor_count, sizeof(*j.made));
	j.used = arena_alloc(arena, s->tensor_count, sizeof(*j.used));
	if (!j.made || !j.used)
		return -ENOMEM;
	for (const struct join_rule *rule = rules; rule && rule->joined; rule++)
		for (size_t i = 0; rc == 0 && i < s->tensor_count; i++)
			if (!j.used[i])
				rc = try_rule(&j, &s->tensors[i], rule);
	if (rc || !j.made_count)
		return rc;
	list = arena_alloc(arena, s->tensor_count - j.used_count + j.made_count, sizeof(*list));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < s->tensor_count; i++)
		if (!j.used[i])
			list[n++] = s->tensors[i];
	memcpy(list + n, j.made, j.made_count * sizeof(*list));
	s->tensors = list;
	s->tensor_count = n + j.made_count;
	source_sort(s);
	return 0;
}
