/* SPDX-License-Identifier: MIT */
#include "lora/pair.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "tensor/encoding.h"

typedef unsigned long long ull;

/* ---- reading ---- */

static struct lora_entry **slot_of(struct pair *p, enum lora_role role)
{
	switch (role) {
	case LORA_A:
	case LORA_EMBEDDING_A:
	case LORA_MLX_A:
		return &p->a;
	case LORA_B:
	case LORA_EMBEDDING_B:
	case LORA_MLX_B:
		return &p->b;
	case LORA_BIAS:
		return &p->bias;
	case LORA_MAGNITUDE:
		return &p->magnitude;
	default:
		return &p->tokens;
	}
}

/* The partner that a factor must have. */
static const char *partner_of(enum lora_role role)
{
	static const char *const names[] = {[LORA_A] = "lora_B",
	    [LORA_B] = "lora_A",
	    [LORA_EMBEDDING_A] = "lora_embedding_B",
	    [LORA_EMBEDDING_B] = "lora_embedding_A",
	    [LORA_MLX_A] = "lora_b",
	    [LORA_MLX_B] = "lora_a"};

	return names[role];
}

static int check_partners(const struct pair *p, struct gptqfs_error *err)
{
	const struct lora_entry *one = p->a ? p->a : p->b;

	if (p->tokens)
		return p->a || p->b || p->bias || p->magnitude
		           ? adapter_refuse(p->adapter, p->tokens, err,
				 "the same module has factors: which come first is unknown")
		           : 0;
	if (!one)
		return adapter_refuse(p->adapter, p->bias ? p->bias : p->magnitude, err,
		    "its module has no lora_A and lora_B");
	if (!p->a || !p->b)
		return adapter_refuse(p->adapter, one, err, "there is no %s of the same module; save the adapter again",
		    partner_of(one->name.role));
	if (p->b->name.role != p->a->name.role + 1 && !(p->a->name.role == LORA_A && p->b->name.role == LORA_B))
		return adapter_refuse(p->adapter, p->b, err, "it does not go with tensor %.200s", p->a->t.name);
	return 0;
}

/* A factor as stored: its rank, its length, and where its elements are. */
static void read_factor(const struct pair *p, const struct lora_entry *e, struct lora_factor *f, uint64_t *rank,
    uint64_t *length)
{
	const bool by_rank = e->name.role == LORA_A || e->name.role == LORA_EMBEDDING_A || e->name.role == LORA_MLX_B;

	*rank = e->t.shape[by_rank ? 0 : 1];
	*length = e->t.shape[by_rank ? 1 : 0];
	*f = (struct lora_factor){.data = p->adapter->file.map + e->t.begin,
	    .dtype = e->t.dtype,
	    .across = by_rank ? 1 : *rank,
	    .along = by_rank ? *length : 1};
}

static int read_factors(struct pair *p, struct gptqfs_error *err)
{
	uint64_t rank, other;

	for (int i = 0; i < 2; i++)
		if ((i ? p->b : p->a)->t.ndim != 2)
			return adapter_refuse(p->adapter, i ? p->b : p->a, err, "expected a matrix of two dimensions");
	read_factor(p, p->a, &p->fa, &rank, &p->in);
	read_factor(p, p->b, &p->fb, &other, &p->out);
	if (rank != other)
		return adapter_refuse(p->adapter, p->b, err, "its rank is %llu, that of tensor %.200s %llu", (ull)other,
		    p->a->t.name, (ull)rank);
	if (!rank || rank > UINT32_MAX)
		return adapter_refuse(p->adapter, p->a, err, "expected a rank of 1 to %d", LORA_RANK_MAX);
	p->rank = (uint32_t)rank;
	return 0;
}

static int check_dora(const struct pair *p, struct gptqfs_error *err)
{
	const bool dora = json_bool(json_get(p->adapter->config, "use_dora"), false);
	const struct lora_entry *m = p->magnitude;

	if (dora && !m && p->a->name.role == LORA_A)
		return adapter_refuse(p->adapter, p->a, err,
		    "use_dora is set, but its module has no lora_magnitude_vector; save the adapter again");
	if (dora && p->a->name.role != LORA_A)
		return adapter_refuse(p->adapter, p->a, err,
		    "DoRA on an embedding is not merged: its norm runs down columns");
	if (m && !dora)
		return adapter_refuse(p->adapter, m, err, "it belongs to DoRA, but use_dora is not set in %s",
		    p->adapter->config_name);
	if (m && (m->t.ndim < 1 || m->t.ndim > 2 || m->t.shape[0] != p->out || (m->t.ndim == 2 && m->t.shape[1] != 1)))
		return adapter_refuse(p->adapter, m, err, "expected %llu elements, as many as lora_B has rows",
		    (ull)p->out);
	return 0;
}

int pair_read(struct pair *p, const struct adapter *a, struct lora_entry *first, size_t count, struct gptqfs_error *err)
{
	int rc;

	*p = (struct pair){.adapter = a, .module = first->name.module};
	for (size_t i = 0; i < count; i++) {
		struct lora_entry **slot = slot_of(p, first[i].name.role);

		if (*slot)
			return adapter_refuse(a, &first[i], err, "tensor %.200s means the same; remove one of them",
			    (*slot)->t.name);
		*slot = &first[i];
	}
	rc = check_partners(p, err);
	if (rc || p->tokens)
		return rc;
	rc = read_factors(p, err);
	return rc ? rc : check_dora(p, err);
}

/* ---- one matrix ---- */

/* What ends before row `row`. */
static uint64_t bytes_before(const struct pair *p, uint64_t row, uint64_t all)
{
	const uint64_t bytes = p->a->t.bytes + p->b->t.bytes + (p->magnitude ? p->magnitude->t.bytes : 0);

	return bytes / all * row + bytes % all * row / all;
}

uint64_t pair_share(const struct pair *p, uint64_t first, uint64_t count, uint64_t all)
{
	return bytes_before(p, first + count, all) - bytes_before(p, first, all);
}

/* True if the weight is kept as [in_features, out_features], or is an embedding. */
static bool is_transposed(const struct pair *p, const struct places *places, const struct tensor *t)
{
	const struct encoded *e = tensor_encoded(t);

	if (p->a->name.role == LORA_EMBEDDING_A)
		return true;
	/* Quantized embeddings may be stored as they are. PEFT names pairs on embeddings, mlx-lm does not. */
	if (e && (e->transposed || p->a->name.role != LORA_MLX_A))
		return e->transposed;
	return architecture_keeps_orientation(places->architecture, &places->tables,
	    (struct linear){p->module, (int64_t)p->in, (int64_t)p->out});
}

const char *pair_obstacle(const struct pair *p, const struct tensor *t)
{
	const struct tensor *base = tensor_base(t);

	if (!tensor_is_float(t) || (base->origin != TENSOR_STORED && base->origin != TENSOR_ENCODED))
		return "it is not a weight of its own";
	if (!tensor_elements(t) || t->shape[t->ndim - 1] > ADAPTED_COLUMNS_MAX || t->shape[t->ndim - 2] > UINT32_MAX)
		return "it is empty or too large";
	if (t->origin == TENSOR_ADAPTED && t->adapted->given.count)
		return "an adapter also replaces rows of it";
	if (t->origin == TENSOR_ADAPTED && t->adapted->layers && (p->magnitude || t->adapted->magnitude))
		return "DoRA does not go with a second adapter on one tensor";
	return NULL;
}

static int refuse_pair_shape(const struct pair *p, const struct tensor *t, struct gptqfs_error *err)
{
	return adapter_refuse(p->adapter, p->b, err,
	    "with lora_A it makes [%llu, %llu], but %.200s of the model is [%llu, %llu]; is it an adapter for another "
	    "model?",
	    (ull)p->out, (ull)p->in, t->name, (ull)t->shape[0], (ull)t->shape[1]);
}

int pair_add_term(const struct pair *p, struct places *places, struct tensor *t, const struct pair_term *term,
    struct gptqfs_error *err)
{
	struct arena *arena = &places->c->arena;
	struct adapted_layer layer = {
	    arena_alloc(arena, 1, sizeof(*layer.terms)), (struct source_file *)&p->adapter->file, term->bytes};

	if (!layer.terms)
		return err_memory(err);
	*layer.terms = term->term;
	return adapted_add(arena, t, &layer) ? err_memory(err) : 0;
}

/* The magnitudes of rows [row0, ...). */
static int add_magnitude(const struct pair *p, struct places *places, struct tensor *t, uint64_t row0,
    struct gptqfs_error *err)
{
	struct lora_factor *m;

	if (!p->magnitude)
		return 0;
	m = arena_alloc(&places->c->arena, 1, sizeof(*m));
	if (!m)
		return err_memory(err);
	*m = (struct lora_factor){
	    .data = p->adapter->file.map + p->magnitude->t.begin + row0 * dtype_bytes(p->magnitude->t.dtype),
	    .dtype = p->magnitude->t.dtype,
	    .across = 1};
	t->adapted->magnitude = m;
	return 0;
}

/* Rows [row0, row0 + rows of t) of the product, on a matrix that is not joined. */
static int add_matrix(const struct pair *p, struct places *places, struct tensor *t, uint64_t row0,
    struct gptqfs_error *err)
{
	const bool transposed = row0 == 0 && is_transposed(p, places, t);
	const uint64_t all = transposed ? p->in : p->out, rows = t->ndim == 2 ? t->shape[0] : 0;
	struct pair_term x = {{.l = transposed ? p->fa : p->fb, .r = transposed ? p->fb : p->fa, p->rank, p->scale},
	    pair_share(p, row0, rows, all)};
	const char *reason = t->ndim == 2 ? pair_obstacle(p, t) : "it is not a matrix";
	int rc;

	if (reason)
		return adapter_refuse(p->adapter, p->a, err, "%.200s of the model: %s", t->name, reason);
	if (p->magnitude && transposed)
		return adapter_refuse(p->adapter, p->magnitude, err,
		    "%.200s of the model is kept as [in_features, out_features], where DoRA's norm runs down columns",
		    t->name);
	x.term.l.data += row0 * x.term.l.across * dtype_bytes(x.term.l.dtype);
	rc = pair_add_term(p, places, t, &x, err);
	return rc ? rc : add_magnitude(p, places, t, row0, err);
}

static bool fits(const struct pair *p, const struct places *places, const struct tensor *t)
{
	const bool transposed = t->ndim == 2 && t->origin != TENSOR_JOINED && is_transposed(p, places, t);

	return t->ndim == 2 && t->shape[0] == (transposed ? p->in : p->out) &&
	       t->shape[1] == (transposed ? p->out : p->in);
}

int pair_add(const struct pair *p, struct places *places, struct tensor *t, struct gptqfs_error *err)
{
	uint64_t row0 = 0;
	int rc = 0;

	if (p->rank > LORA_RANK_MAX)
		return adapter_refuse(p->adapter, p->a, err, "expected a rank of 1 to %d", LORA_RANK_MAX);
	if (t->ndim == 2 && !fits(p, places, t))
		return refuse_pair_shape(p, t, err);
	if (t->origin != TENSOR_JOINED)
		return add_matrix(p, places, t, 0, err);
	for (size_t i = 0; rc == 0 && i < t->part_count; i++) {
		struct tensor *part = (struct tensor *)t->parts[i];

		rc = add_matrix(p, places, part, row0, err);
		row0 += part->shape[0];
	}
	return rc;
}

/* ---- biases ---- */

int pair_add_bias(const struct pair *p, struct places *places, struct gptqfs_error *err)
{
	struct place *place = places_find(places, p->module, "bias");
	struct pair_term x = {{.rank = 1, .scale = p->scale}, p->bias->t.bytes};

	if (!place)
		return adapter_refuse(p->adapter, p->bias, err, "the model has no bias in %.200s to add it to",
		    p->module);
	if (p->bias->t.ndim != 1 || place->t->ndim != 1 || p->bias->t.shape[0] != place->t->shape[0])
		return adapter_refuse(p->adapter, p->bias, err, "%.200s of the model has another shape",
		    place->t->name);
	if (place->part || tensor_base(place->t)->origin != TENSOR_STORED || !tensor_is_float(place->t) ||
	    !tensor_elements(place->t) || place->t->shape[0] > ADAPTED_COLUMNS_MAX)
		return adapter_refuse(p->adapter, p->bias, err, "%.200s of the model is not a bias of its own",
		    place->t->name);
	x.term.r = (struct lora_factor){
	    .data = p->adapter->file.map + p->bias->t.begin, .dtype = p->bias->t.dtype, .across = 1, .along = 1};
	return pair_add_term(p, places, place->t, &x, err);
}
