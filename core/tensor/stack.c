/* SPDX-License-Identifier: MIT */
#include "tensor/stack.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/encoding.h"
#include "tensor/experts.h"
#include "tensor/replacement.h"
#include "tree/transpose.h"

typedef unsigned long long ull;

struct stacker {
	struct checkpoint *c;
	const struct expert_class *class;
	enum experts_cut cut;
	uint64_t count; /* experts according to config.json, or 0 */
	struct replacement r;
	const char *reason; /* reason for the first experts left unstacked */
	const char *square; /* a stack misread by transformers 5, or NULL */
};

/* ---- names ---- */

/* The parts of a pattern around '#'. */
struct pattern {
	const char *tail;
	size_t head_len, tail_len;
};

static struct pattern pattern_of(const char *text)
{
	const char *number = strchr(text, '#');

	return (struct pattern){number + 1, (size_t)(number - text), strlen(number + 1)};
}

/* True if the name ends with the pattern, with any number; *prefix is the length before it. */
static bool matches(const char *name, const char *pattern, size_t *prefix)
{
	const struct pattern p = pattern_of(pattern);
	const size_t len = strlen(name);
	size_t at;

	if (len < p.head_len + 1 + p.tail_len || strcmp(name + len - p.tail_len, p.tail) != 0)
		return false;
	at = len - p.tail_len;
	while (at > 0 && name[at - 1] >= '0' && name[at - 1] <= '9')
		at--;
	if (at == len - p.tail_len || at < p.head_len || memcmp(name + at - p.head_len, pattern, p.head_len) != 0)
		return false;
	*prefix = at - p.head_len;
	return true;
}

/* Names of one prefix are adjacent, those of expert 0 first. */
static size_t count_experts(const struct stacker *s, const struct tensor *first, const char *pattern, size_t prefix)
{
	const struct tensor *end = s->r.ts->list + s->r.ts->float_count;
	const size_t common = prefix + pattern_of(pattern).head_len;
	size_t count = 0, length;

	for (const struct tensor *t = first; t < end && strncmp(t->name, first->name, common) == 0; t++)
		count += matches(t->name, pattern, &length) && length == prefix;
	return count;
}

static const struct tensor *stack_find_part(const struct stacker *s, const char *name, size_t prefix,
    const char *pattern, size_t expert)
{
	const struct pattern p = pattern_of(pattern);
	char text[1024];

	if (snprintf(text, sizeof(text), "%.*s%.*s%zu%s", (int)prefix, name, (int)p.head_len, pattern, expert,
		p.tail) >= (int)sizeof(text))
		return NULL;
	return tensors_find(s->r.ts, text);
}

/* ---- one stack ---- */

struct candidate {
	const struct expert_stack *rule;
	const char *name; /* of a part */
	size_t prefix;    /* length of the names' common prefix */
	size_t experts, per_expert;
	enum stack_order order;
	const struct tensor **part; /* [experts * per_expert] */
};

static enum stack_order order_of(const struct stacker *s, const struct expert_stack *rule)
{
	if (rule->order == EXPERTS_ROWS)
		return STACK_ROWS;
	return rule->order == EXPERTS_COLUMNS_AS_CUT && s->cut == CUT_INTERLEAVED ? STACK_INTERLEAVED : STACK_COLUMNS;
}

/* True if the tensor is a matrix [out_features, in_features], or a bias. */
static bool stack_is_matrix(const struct tensor *t)
{
	const struct encoded *e = tensor_encoded(t);

	return tensor_is_float(t) && (t->ndim == 1 || t->ndim == 2) && tensor_elements(t) &&
	       (e || t->origin == TENSOR_STORED) && !(e && e->transposed);
}

/* Returns why a part does not match that of expert 0, or NULL. */
static const char *stack_misfit_of(const struct candidate *k, size_t expert, size_t i)
{
	const struct tensor *t = k->part[expert * k->per_expert + i], *alike = k->part[i], *first = k->part[0];

	if (!t)
		return "is missing";
	if (!stack_is_matrix(t))
		return "is not a matrix [out_features, in_features]";
	if (t->ndim != first->ndim || t->shape[0] != alike->shape[0] ||
	    (k->order == STACK_INTERLEAVED && t->shape[0] != first->shape[0]) ||
	    (t->ndim == 2 && t->shape[1] != first->shape[1]))
		return "differs in shape from the rest";
	return NULL;
}

/* The first part that does not match; reason is NULL if all do. */
struct misfit {
	const char *reason, *part; /* "is missing", "up_proj.weight" */
	size_t expert;
};

static struct misfit find_misfit(const struct candidate *k)
{
	struct misfit found = {0};

	for (size_t e = 0; !found.reason && e < k->experts; e++)
		for (size_t i = 0; !found.reason && i < k->per_expert; i++)
			found = (struct misfit){stack_misfit_of(k, e, i), pattern_of(k->rule->part[i]).tail + 1, e};
	return found;
}

/* Returns the elements of a row if what the stack is made of becomes its columns. */
static uint64_t transposed_columns(const struct candidate *k)
{
	uint64_t columns = 0;

	for (size_t i = 0; i < k->per_expert; i++)
		columns += k->part[i]->shape[0];
	return columns;
}

/* *Sets `reason` to why these experts cannot be stacked, or NULL. Returns 0 or -ENOMEM. */
static int refusal_of(const struct stacker *s, const struct candidate *k, const char *name, const char **reason)
{
	const struct misfit misfit = find_misfit(k);

	*reason = NULL;
	if (tensors_find(s->r.ts, name))
		*reason = "a tensor of that name already exists";
	else if (k->rule->order == EXPERTS_COLUMNS_AS_CUT && s->cut == CUT_UNKNOWN)
		*reason = "it is unknown whether gate_proj is every other row or the first half of both; config.json "
			  "has no transformers_version";
	else if (s->count && s->count != k->experts)
		*reason = arena_printf(&s->c->arena, "there are %zu experts, but %s is %llu", k->experts,
		    s->class->count, (ull)s->count);
	else if (misfit.reason)
		*reason = arena_printf(&s->c->arena, "%s of expert %zu %s", misfit.part, misfit.expert, misfit.reason);
	else if (k->order != STACK_ROWS && transposed_columns(k) > TRANSPOSED_COLUMNS_MAX)
		*reason =
		    arena_printf(&s->c->arena, "its rows would have %llu elements, but at most %llu are supported",
			(ull)transposed_columns(k), (ull)TRANSPOSED_COLUMNS_MAX);
	else
		return 0;
	return *reason ? 0 : -ENOMEM;
}

/* Sets the shape as served: [experts, rows, columns], or [experts, rows] of biases. */
static const uint64_t *shape_of(const struct stacker *s, const struct candidate *k)
{
	uint64_t *shape = arena_alloc(&s->c->arena, 3, sizeof(*shape));

	if (!shape)
		return NULL;
	shape[0] = k->experts;
	for (size_t i = 0; i < k->per_expert; i++)
		shape[1] += k->part[i]->shape[0];
	if (k->part[0]->ndim == 2) {
		shape[2] = shape[1];
		shape[k->order == STACK_ROWS ? 2 : 1] = k->part[0]->shape[1];
	}
	return shape;
}

static int add_stack(struct stacker *s, const struct candidate *k, const char *name)
{
	struct tensor *t = &s->r.made[s->r.made_count];
	struct stacked *stacked = arena_alloc(&s->c->arena, 1, sizeof(*stacked));

	if (!stacked)
		return -ENOMEM;
	*stacked = (struct stacked){
	    .order = k->order,
	    .part = k->part,
	    .experts = k->experts,
	    .per_expert = k->per_expert,
	};
	*t = (struct tensor){.name = name,
	    .shape = shape_of(s, k),
	    .ndim = (uint8_t)(k->part[0]->ndim + 1),
	    .origin = TENSOR_STACKED,
	    .stacked = stacked};
	if (!t->shape)
		return -ENOMEM;
	for (size_t i = 0; i < k->experts * k->per_expert; i++)
		replacement_use(&s->r, k->part[i]);
	if (k->rule->order == EXPERTS_COLUMNS_UNLESS_SQUARE && t->shape[1] == t->shape[2] && !s->square)
		s->square = t->name;
	s->r.made_count++;
	return 0;
}

/* Stacks the experts whose number 0 has this first part, or records why not. */
static int try_stack(struct stacker *s, struct candidate *k)
{
	const struct expert_stack *rule = k->rule;
	const char *name = arena_printf(&s->c->arena, "%.*s%s", (int)k->prefix, k->name, rule->name), *reason;
	int rc;

	k->order = order_of(s, rule);
	k->per_expert = rule->part[1] ? 2 : 1;
	k->part = arena_alloc(&s->c->arena, k->experts * k->per_expert, sizeof(*k->part));
	if (!name || !k->part)
		return -ENOMEM;
	for (size_t e = 0; e < k->experts; e++)
		for (size_t i = 0; i < k->per_expert; i++)
			k->part[e * k->per_expert + i] = stack_find_part(s, k->name, k->prefix, rule->part[i], e);
	rc = refusal_of(s, k, name, &reason);
	if (rc)
		return rc;
	if (!reason)
		return add_stack(s, k, name);
	if (!s->reason)
		s->reason = arena_printf(&s->c->arena, "%s: %s", name, reason);
	return s->reason ? 0 : -ENOMEM;
}

static int stack_all(struct stacker *s)
{
	const struct tensors *ts = s->r.ts;
	int rc = 0;

	for (const struct expert_stack *rule = s->class->stacks; rule->name; rule++)
		for (size_t i = 0; rc == 0 && i < ts->float_count; i++) {
			const struct tensor *t = &ts->list[i];
			struct candidate k = {.rule = rule, .name = t->name};

			if (s->r.used[i] || !matches(t->name, rule->part[0], &k.prefix) ||
			    stack_find_part(s, t->name, k.prefix, rule->part[0], 0) != t)
				continue;
			k.experts = count_experts(s, t, rule->part[0], k.prefix);
			rc = try_stack(s, &k);
		}
	return rc;
}

/* ---- warnings ---- */

static bool stack_is_part(const struct expert_class *class, const char *name)
{
	size_t prefix;

	for (const struct expert_stack *rule = class->stacks; rule->name; rule++)
		for (size_t i = 0; i < EXPERT_PARTS_MAX && rule->part[i]; i++)
			if (matches(name, rule->part[i], &prefix))
				return true;
	return false;
}

static void warn_apart(const struct stacker *s)
{
	const struct tensors *ts = s->r.ts;
	const char *first = NULL;
	size_t count = 0;

	for (size_t i = 0; i < ts->count; i++)
		if (!s->r.used[i] && stack_is_part(s->class, ts->list[i].name)) {
			first = first ? first : ts->list[i].name;
			count++;
		}
	if (count)
		checkpoint_warn(s->c,
		    "%zu tensor%s of experts (the first: %.200s) cannot be put into one tensor%s%s. transformers reads "
		    "all experts of a layer in one, finds none, and starts with random ones",
		    count, count > 1 ? "s" : "", first, s->reason ? "; " : "", s->reason ? s->reason : "");
	if (s->square)
		checkpoint_warn(s->c,
		    "%.200s is square: transformers 4 reads it correctly, transformers 5 treats it as transposed",
		    s->square);
}

/* An unknown class may hold its experts in any way. */
static void warn_unknown(struct checkpoint *c, const struct tensors *ts)
{
	const char *type = json_str(json_get(c->config_json, "model_type"));
	size_t prefix;

	for (size_t i = 0; i < ts->float_count; i++)
		if (matches(ts->list[i].name, ".experts.#.gate_proj.weight", &prefix) ||
		    matches(ts->list[i].name, ".experts.#.down_proj.weight", &prefix) ||
		    matches(ts->list[i].name, ".experts.#.w1.weight", &prefix)) {
			checkpoint_warn(c,
			    "experts are served one by one, as stored; it is unknown whether model_type %.80s reads "
			    "them so. A class that holds all experts of a layer in one tensor starts with random ones: "
			    "check whether transformers reports missing keys",
			    type ? type : "(none)");
			return;
		}
}

int stack_experts(struct checkpoint *c, struct tensors *ts)
{
	struct stacker s = {.c = c, .class = experts_find(c->config_json)};
	int rc;

	if (!s.class)
		warn_unknown(c, ts);
	if (!s.class || !s.class->stacks)
		return 0;
	s.cut = experts_cut_of(c->config_json, ts->labels.producer);
	s.count = experts_count(s.class, c->config_json);
	rc = replacement_begin(&s.r, &c->arena, ts);
	if (rc == 0)
		rc = stack_all(&s);
	if (rc)
		return rc;
	warn_apart(&s);
	return s.r.made_count ? replacement_finish(&s.r, &c->arena, ts) : 0;
}
