/* SPDX-License-Identifier: MIT */

/*
 * target_parameters: the factors of all experts of a layer as one pair on the stack that transformers 5 has in memory,
 * [experts, 2 intermediate, hidden] or [experts, hidden, intermediate]. Of expert e, R is rows [e r, e r + r) of
 * lora_A, L columns e, e + experts, ... of lora_B. A checkpoint has the experts one by one, or in such a stack.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "lora/pair.h"
#include "tensor/experts.h"

typedef unsigned long long ull;

#define NAME_MAX_BYTES 1024

/* What modules of an expert are called. */
struct spelling {
	const char *gate, *up, *down;
};

static const struct spelling spellings[] = {{"gate_proj", "up_proj", "down_proj"}, {"w1", "w3", "w2"}};

struct layer {
	struct pair *pair;
	struct places *places;
	uint64_t experts, hidden, intermediate;
	uint32_t rank;                   /* of one expert */
	const struct spelling *spelling; /* NULL: stacks */
};

static struct place *find_expert(const struct layer *l, uint64_t expert, const char *part)
{
	char module[NAME_MAX_BYTES];

	if (snprintf(module, sizeof(module), "%s.%llu.%s", l->pair->module, (ull)expert, part) >= (int)sizeof(module))
		return NULL;
	return places_find(l->places, module, "weight");
}

static struct place *find_stack(const struct layer *l, const char *part)
{
	struct place *found = places_find(l->places, l->pair->module, part);
	char module[NAME_MAX_BYTES];

	if (found || snprintf(module, sizeof(module), "%s.%s", l->pair->module, part) >= (int)sizeof(module))
		return found;
	return places_find(l->places, module, "weight");
}

static int refuse_layer(const struct layer *l, const char *why, struct gptqfs_error *err)
{
	return adapter_refuse(l->pair->adapter, l->pair->a, err, "%.200s of the model %s", l->pair->module, why);
}

/* How the model stores the experts of the layer, and how large they are. */
static int read_layer(struct layer *l, struct gptqfs_error *err)
{
	const struct place *down = NULL;

	for (size_t i = 0; !down && i < sizeof(spellings) / sizeof(*spellings); i++) {
		l->spelling = &spellings[i];
		down = find_expert(l, 0, l->spelling->down);
	}
	if (down) {
		while (find_expert(l, l->experts, l->spelling->down))
			l->experts++;
		if (down->t->ndim != 2)
			return refuse_layer(l, "has experts that are not matrices", err);
		l->hidden = down->t->shape[0];
		l->intermediate = down->t->shape[1];
		return 0;
	}
	l->spelling = NULL;
	down = find_stack(l, "down_proj");
	if (!down || down->t->ndim != 3)
		return refuse_layer(l, "is not a known layer of experts", err);
	l->experts = down->t->shape[0];
	l->hidden = down->t->shape[1];
	l->intermediate = down->t->shape[2];
	return 0;
}

/* Classes whose stacks have columns where others have rows: shapes alone do not show which is which. */
static bool has_transposed_stacks(const struct checkpoint *c)
{
	const struct expert_class *class = experts_find(c->config_json);

	for (const struct expert_stack *s = class ? class->stacks : NULL; s && s->name; s++)
		if (s->order != EXPERTS_ROWS)
			return true;
	return false;
}

/* The product of one expert: rows [row0, ...) of it if it is a part. */
static struct adapted_term term_of_expert(const struct layer *l, uint64_t expert, uint64_t row0)
{
	const struct pair *p = l->pair;
	struct adapted_term t = {.l = p->fb, .r = p->fa, .rank = l->rank, .scale = p->scale};

	t.l.across = p->rank;
	t.l.along = l->experts;
	t.l.data += (row0 * p->rank + expert) * dtype_bytes(t.l.dtype);
	t.r.data += expert * l->rank * p->in * dtype_bytes(t.r.dtype);
	return t;
}

static bool can_add(const struct layer *l, const struct place *place, int ndim, uint64_t rows)
{
	const struct tensor *t = place ? place->t : NULL;

	return t && t->ndim == ndim && !pair_obstacle(l->pair, t) && t->shape[ndim - 2] == rows &&
	       t->shape[ndim - 1] == l->pair->in;
}

/* Rows [row0, row0 + rows) of the product on one part of each expert. */
static int add_parts(const struct layer *l, const char *part, uint64_t row0, uint64_t rows, struct gptqfs_error *err)
{
	const uint64_t out = l->pair->out;
	int rc = 0;

	for (uint64_t e = 0; rc == 0 && e < l->experts; e++) {
		const struct place *place = find_expert(l, e, part);
		const struct pair_term x = {
		    term_of_expert(l, e, row0), pair_share(l->pair, e * out + row0, rows, l->experts * out)};

		if (!can_add(l, place, 2, rows))
			rc = refuse_layer(l, "has experts of several shapes, or of a format that cannot be added to",
			    err);
		else
			rc = pair_add_term(l->pair, l->places, place->t, &x, err);
	}
	return rc;
}

static int add_to_stack(const struct layer *l, const char *part, struct gptqfs_error *err)
{
	struct arena *arena = &l->places->c->arena;
	const struct place *place = find_stack(l, part);
	const struct adapted_layer layer = {arena_alloc(arena, l->experts, sizeof(*layer.terms)),
	    (struct source_file *)&l->pair->adapter->file, pair_share(l->pair, 0, 1, 1)};

	if (!layer.terms)
		return err_memory(err);
	if (!can_add(l, place, 3, l->pair->out) || place->t->shape[0] != l->experts)
		return refuse_layer(l, "has no stack that the product fits", err);
	for (uint64_t e = 0; e < l->experts; e++)
		layer.terms[e] = term_of_expert(l, e, 0);
	return adapted_add(arena, place->t, &layer) ? err_memory(err) : 0;
}

static int scale_layer(struct layer *l, const char *stack, struct gptqfs_error *err)
{
	const char *name = arena_printf(&l->places->c->arena, "%s.%s", l->pair->module, stack);

	return name ? lora_scale_of(&l->pair->adapter->scale, name, l->rank, &l->pair->scale, err) : err_memory(err);
}

static int add_layer(struct layer *l, struct gptqfs_error *err)
{
	const struct pair *p = l->pair;
	const bool down = p->out == l->hidden && p->in == l->intermediate;
	const ull both = 2 * l->intermediate;
	int rc;

	if (!down && (p->out != both || p->in != l->hidden))
		return adapter_refuse(p->adapter, p->b, err,
		    "with lora_A it makes [%llu, %llu], expected [%llu, %llu] of down_proj or [%llu, %llu] of gate_up_proj",
		    (ull)p->out, (ull)p->in, (ull)l->hidden, (ull)l->intermediate, both, (ull)l->hidden);
	rc = scale_layer(l, down ? "down_proj" : "gate_up_proj", err);
	if (rc || !l->spelling)
		return rc ? rc : add_to_stack(l, down ? "down_proj" : "gate_up_proj", err);
	if (down)
		return add_parts(l, l->spelling->down, 0, l->hidden, err);
	rc = add_parts(l, l->spelling->gate, 0, l->intermediate, err);
	return rc ? rc : add_parts(l, l->spelling->up, l->intermediate, l->intermediate, err);
}

int pair_add_experts(struct pair *p, struct places *places, struct gptqfs_error *err)
{
	struct layer l = {.pair = p, .places = places};
	int rc;

	if (p->magnitude || p->bias || p->a->name.role != LORA_A)
		return adapter_refuse(p->adapter, p->a, err,
		    "only plain LoRA is merged into a stack of experts: DoRA's norm runs down columns there");
	rc = read_layer(&l, err);
	if (rc)
		return rc;
	if (has_transposed_stacks(places->c))
		return refuse_layer(&l,
		    "has experts in a stack that is transposed or interleaved: which of its rows target_parameters means cannot be told from shapes; merge it with PEFT",
		    err);
	if (!l.experts || p->rank % l.experts || p->rank / l.experts > LORA_RANK_MAX)
		return adapter_refuse(p->adapter, p->a, err, "expected a multiple of %llu rows, the number of experts",
		    (ull)l.experts);
	l.rank = (uint32_t)(p->rank / l.experts);
	rc = add_layer(&l, err);
	p->rank = l.rank; /* for reports */
	return rc;
}
