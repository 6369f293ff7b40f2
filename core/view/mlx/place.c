/* SPDX-License-Identifier: MIT */
#include "view/mlx/place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "tensor/architecture.h"
#include "tensor/dense.h"

#define MARK ".experts."
#define NUMBER_DIGITS 6

/* A tensor of one expert. */
struct expert {
	const char *stack; /* the name of the tensor of all */
	uint32_t number;
	const struct tensor *t;
};

/* ---- names ---- */

/* What a tensor's name has before the mark, and after the number. */
struct expert_name {
	size_t before;
	uint32_t number;
	const struct mlx_projection *projection;
	const char *suffix; /* ".weight" */
};

static bool read_number(const char **at, uint32_t *number)
{
	char *end;

	if (**at < '0' || **at > '9' || strspn(*at, "0123456789") > NUMBER_DIGITS)
		return false;
	*number = (uint32_t)strtoul(*at, &end, 10);
	*at = end + 1;
	return *end == '.';
}

static bool expert_parse(const char *name, enum mlx_change change, struct expert_name *out)
{
	const char *layer = mlx_expert_layer[change], *mark = layer ? strstr(name, MARK) : NULL, *at;
	const size_t len = mark ? strlen(layer) : 0;

	if (!mark || (size_t)(mark - name) < len || memcmp(mark - len, layer, len) != 0)
		return false;
	out->before = (size_t)(mark - name);
	at = mark + strlen(MARK);
	if (!read_number(&at, &out->number))
		return false;
	for (size_t i = 0; i < MLX_PROJECTIONS; i++) {
		out->projection = &mlx_projections[change][i];
		out->suffix = at + strlen(out->projection->model);
		if (strncmp(at, out->projection->model, strlen(out->projection->model)) == 0 && *out->suffix == '.')
			return true;
	}
	return false;
}

/* ---- placing ---- */

struct mlx_placer {
	struct checkpoint *c;
	enum mlx_change change;
	struct mlx_tensors *out;
	struct expert *experts; /* [expert_count] */
	size_t expert_count;
	struct gptqfs_error *err;
};

/* Sets *parts to those of a new tensor, which the caller fills in. */
static int mlx_place(struct mlx_placer *p, struct mlx_tensor t, const struct tensor ***parts)
{
	*parts = arena_alloc(&p->c->arena, t.count, sizeof(const struct tensor *));
	if (!*parts || !t.name)
		return err_memory(p->err);
	t.parts = *parts;
	p->out->list[p->out->count++] = t;
	return 0;
}

static int mlx_place_tensor(struct mlx_placer *p, const struct tensor *t)
{
	struct expert_name x;
	struct expert *expert = &p->experts[p->expert_count];
	const struct tensor **parts;
	int rc;

	if (!expert_parse(t->name, p->change, &x)) {
		rc = mlx_place(p, (struct mlx_tensor){.name = t->name, .count = 1}, &parts);
		if (rc == 0)
			parts[0] = t;
		return rc;
	}
	*expert = (struct expert){.number = x.number, .t = t};
	expert->stack =
	    arena_printf(&p->c->arena, "%.*s.switch_mlp.%s%s", (int)x.before, t->name, x.projection->mlx, x.suffix);
	p->expert_count++;
	return expert->stack ? 0 : err_memory(p->err);
}

static int by_stack(const void *a, const void *b)
{
	const struct expert *x = a, *y = b;
	const int order = strcmp(x->stack, y->stack);

	return order ? order : (x->number > y->number) - (x->number < y->number);
}

/* Types are those that the view shows. */
static bool is_alike(const struct tensor *a, const struct tensor *b)
{
	return dense_dtype(a, DTYPE_F32) == dense_dtype(b, DTYPE_F32) && a->ndim == b->ndim &&
	       memcmp(a->shape, b->shape, a->ndim * sizeof(*a->shape)) == 0;
}

static int place_stack(struct mlx_placer *p, const struct expert *first, size_t count)
{
	const struct tensor **parts;
	int rc = mlx_place(p, (struct mlx_tensor){.name = first->stack, .count = count, .stacked = true}, &parts);

	for (size_t i = 0; rc == 0 && i < count; i++) {
		if (first[i].number != i)
			return err_set(p->err, -EBADMSG, "expert %zu of %.200s is missing", i, first->stack);
		if (!is_alike(first[i].t, first->t))
			return err_set(p->err, -EBADMSG,
			    "tensor %.200s has another shape or type than that of expert 0", first[i].t->name);
		parts[i] = first[i].t;
	}
	return rc;
}

static int place_stacks(struct mlx_placer *p)
{
	int rc = 0;

	if (p->expert_count)
		qsort(p->experts, p->expert_count, sizeof(*p->experts), by_stack);
	for (size_t i = 0, end; rc == 0 && i < p->expert_count; i = end) {
		for (end = i + 1; end < p->expert_count && strcmp(p->experts[end].stack, p->experts[i].stack) == 0;)
			end++;
		rc = place_stack(p, &p->experts[i], end - i);
	}
	return rc;
}

int mlx_place_all(const struct plan *plan, enum mlx_change change, struct mlx_tensors *out, struct gptqfs_error *err)
{
	const struct tensors *ts = plan->tensors;
	const bool tied = architecture_ties_head(plan->c->config_json, false) && !(plan->lora && plan->lora->untied);
	struct mlx_placer p = {.c = plan->c, .change = change, .out = out, .err = err};
	int rc = 0;

	*out = (struct mlx_tensors){.list = calloc(ts->count + 1, sizeof(*out->list))};
	p.experts = calloc(ts->count + 1, sizeof(*p.experts));
	if (!out->list || !p.experts)
		rc = err_memory(err);
	for (size_t i = 0; rc == 0 && i < ts->count; i++)
		if (!tied || strncmp(ts->list[i].name, "lm_head.", strlen("lm_head.")) != 0)
			rc = mlx_place_tensor(&p, &ts->list[i]);
	if (rc == 0)
		rc = place_stacks(&p);
	free(p.experts);
	return rc;
}

void mlx_tensors_free(struct mlx_tensors *ts)
{
	free(ts->list);
}
