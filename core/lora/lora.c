/* SPDX-License-Identifier: MIT */
#include "lora/lora.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "file/guard.h"
#include "lora/pair.h"
#include "lora/tying.h"

typedef unsigned long long ull;

#define PREFIXES_MAX 16

/* One adapter while it is merged. */
struct merging {
	struct adapter *a;
	struct places *places;
	struct tying *tying;
	bool together; /* embedding and head are trained as one: ensure_weight_tying, and in mlx-lm always */
	struct gptqfs_error *err;
	bool head_rows; /* there are rows of tokens for the head that are not the embedding's */
};

/* ---- which names the model has ---- */

static bool is_known(const struct merging *m, const struct lora_entry *e)
{
	const bool replaces = e->name.role == LORA_REPLACES;

	if (places_find(m->places, e->name.module, replaces ? e->name.leaf : "weight"))
		return true;
	if (m->tying->tied && tying_is_head(m->tying, e->name.module))
		return true;
	return !replaces && ends_with(e->name.module, "experts") && places_has_below(m->places, e->name.module);
}

/* The number of tensors that the model has no place for, and the first of them. */
static size_t count_unknown(const struct merging *m, const struct lora_entry **first)
{
	size_t count = 0;

	*first = NULL;
	for (size_t i = 0; i < m->a->count; i++)
		if (!is_known(m, &m->a->entries[i])) {
			*first = *first ? *first : &m->a->entries[i];
			count++;
		}
	return count;
}

/* True if all names with this prefix of "layers.N" have a place. */
static bool knows_prefix(const struct merging *m, const char *prefix)
{
	for (size_t i = 0; i < m->a->count; i++) {
		const struct lora_entry *e = &m->a->entries[i];
		const int len = places_prefix_length(e->name.module);

		if (len >= 0 && (size_t)len == strlen(prefix) && strncmp(e->name.module, prefix, (size_t)len) == 0 &&
		    !is_known(m, e))
			return false;
	}
	return true;
}

static int note_exchange(struct merging *m, const struct exchange *x)
{
	m->a->renamed = arena_printf(&m->places->c->arena, "%s%s%s as %s", m->a->renamed ? m->a->renamed : "",
	    m->a->renamed ? ", " : "", *x->from ? x->from : "(nothing)", *x->to ? x->to : "(nothing)");
	return m->a->renamed ? 0 : err_memory(m->err);
}

/* Exchanges the prefix of "layers.N" in a name, if exactly one exchange gives every name with it a place. */
static int find_prefix(struct merging *m, const struct lora_entry *unknown)
{
	struct places *p = m->places;
	struct exchange *x = &p->exchanges[p->exchange_count];
	const char *prefixes[PREFIXES_MAX], *found = NULL;
	const size_t count = places_prefixes(p, prefixes, PREFIXES_MAX);
	size_t fitting = 0;

	x->from = arena_strndup(&p->c->arena, unknown->name.module, (size_t)places_prefix_length(unknown->name.module));
	if (!x->from)
		return err_memory(m->err);
	p->exchange_count++;
	for (size_t i = 0; i < count; i++) {
		x->to = prefixes[i];
		if (!knows_prefix(m, x->from))
			continue;
		found = prefixes[i];
		fitting++;
	}
	x->to = found;
	if (fitting == 1)
		return note_exchange(m, x);
	p->exchange_count--;
	return 0;
}

/* Models of several parts, whose class was written anew, have several such prefixes. */
static int find_prefixes(struct merging *m)
{
	size_t before = SIZE_MAX;
	int rc = 0;

	while (rc == 0 && m->places->exchange_count < EXCHANGES_MAX && m->places->exchange_count != before) {
		const struct lora_entry *unknown = NULL;

		before = m->places->exchange_count;
		for (size_t i = 0; !unknown && i < m->a->count; i++)
			if (places_prefix_length(m->a->entries[i].name.module) >= 0 && !is_known(m, &m->a->entries[i]))
				unknown = &m->a->entries[i];
		if (unknown)
			rc = find_prefix(m, unknown);
	}
	return rc;
}

static int check_names(struct merging *m)
{
	const struct lora_entry *unknown, *first;
	size_t count = count_unknown(m, &unknown);
	int rc;

	if (!count)
		return 0;
	rc = find_prefixes(m);
	if (rc || !count_unknown(m, &first))
		return rc;
	return adapter_refuse(m->a, unknown, m->err,
	    "no tensor of this model (%zu such tensor%s); is it an adapter for another model, or for its "
	    "classification head?",
	    count, count > 1 ? "s" : "");
}

/* The place that a tensor of the adapter changes, NULL if the model has none. */
static int find_changed(const struct merging *m, const struct lora_entry *e, bool together, struct place **place)
{
	if (e->name.role == LORA_REPLACES && strcmp(e->name.leaf, "weight") != 0) {
		*place = places_find(m->places, e->name.module, e->name.leaf);
		return 0;
	}
	if (tying_find(m->tying, e->name.module, together, place))
		return adapter_refuse(m->a, e, m->err, "an earlier adapter changed embedding and head together");
	return 0;
}

/* ---- replaced tensors ---- */

static bool is_same_tensor(const struct checkpoint *c, const struct st_tensor *a, const struct st_tensor *b)
{
	return a->dtype == b->dtype && a->bytes == b->bytes && a->ndim && b->ndim && a->shape[0] == b->shape[0] &&
	       source_same_bytes(checkpoint_data(c, a), checkpoint_data(c, b), a->bytes);
}

static bool is_shape_of(const struct st_tensor *s, const struct tensor *t, bool rows_too)
{
	if (s->ndim != t->ndim)
		return false;
	for (int i = rows_too ? 0 : 1; i < s->ndim; i++)
		if (s->shape[i] != t->shape[i])
			return false;
	return true;
}

/* True if the adapter holds both the embedding and the head of a tied model, and they are equal. */
static bool replaces_both_alike(const struct merging *m)
{
	const struct lora_entry *embedding = NULL, *head = NULL;

	for (size_t i = 0; m->tying->embedding && i < m->a->count; i++) {
		const struct lora_entry *e = &m->a->entries[i];

		if (e->name.role != LORA_REPLACES || strcmp(e->name.leaf, "weight") != 0)
			continue;
		if (places_find(m->places, e->name.module, "weight") == m->tying->embedding)
			embedding = e;
		if (tying_is_head(m->tying, e->name.module))
			head = e;
	}
	return embedding && head && is_same_tensor(m->places->c, &embedding->t, &head->t);
}

static int replace_tensor(struct merging *m, struct lora_entry *e, bool together)
{
	bool vocabulary;
	struct place *place;
	struct tensor *t;
	int rc = find_changed(m, e, together, &place);

	if (rc)
		return rc;
	t = place ? place->t : NULL;
	vocabulary =
	    place && (place == m->tying->embedding || (m->tying->head && strcmp(place->name, m->tying->head) == 0));
	if (!t)
		return adapter_refuse(m->a, e, m->err, "the model has no tensor for it to replace");
	if (!tensor_is_float(t) || !is_shape_of(&e->t, t, !vocabulary))
		return adapter_refuse(m->a, e, m->err,
		    "%.200s of the model has another shape or is not of a float type", t->name);
	if (place->replaced && !is_same_tensor(m->places->c, place->replaced, &e->t))
		return adapter_refuse(m->a, e, m->err, "another adapter also replaces %.200s, with other values",
		    t->name);
	if (t->origin == TENSOR_ADAPTED && !place->replaced)
		return adapter_refuse(m->a, e, m->err,
		    "an earlier adapter was added to %.200s, which this one would replace; give this one first",
		    t->name);
	m->a->replaced++;
	if (place->replaced)
		return 0;
	place->replaced = &e->t;
	*t = (struct tensor){
	    .name = t->name, .shape = e->t.shape, .ndim = e->t.ndim, .origin = TENSOR_STORED, .stored = &e->t};
	return 0;
}

static int replace_all(struct merging *m)
{
	const bool together = m->together || replaces_both_alike(m);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < m->a->count; i++)
		if (m->a->entries[i].name.role == LORA_REPLACES)
			rc = replace_tensor(m, &m->a->entries[i], together);
	return rc;
}

/* ---- rows of tokens ---- */

/* The indices for a module: a list, or an object of lists by the ends of names. */
static const struct json *find_indices(const struct merging *m, const char *module)
{
	const struct json *all = json_get(m->a->config, "trainable_token_indices");

	if (!json_is_object(all))
		return all;
	for (const struct json *i = json_first(all); i; i = json_after(i)) {
		const size_t len = strlen(module), tail = strlen(json_key(i));

		if (len >= tail && strcmp(module + len - tail, json_key(i)) == 0 &&
		    (len == tail || module[len - tail - 1] == '.'))
			return i;
	}
	return NULL;
}

static int by_row(const void *a, const void *b)
{
	const struct given_row *x = a, *y = b;

	return x->row < y->row ? -1 : x->row > y->row;
}

static int read_indices(const struct merging *m, const struct lora_entry *e, const struct tensor *t,
    struct adapted_given *given)
{
	const struct json *list = find_indices(m, e->name.module);
	struct given_row *rows = arena_alloc(&m->places->c->arena, json_count(list) + 1, sizeof(*rows));

	if (!rows)
		return err_memory(m->err);
	if (!json_count(list) || json_is_object(list) || json_count(list) != e->t.shape[0])
		return adapter_refuse(m->a, e, m->err, "trainable_token_indices in %s lists %zu tokens for it",
		    m->a->config_name, json_count(list));
	for (const struct json *i = json_first(list); i; i = json_after(i)) {
		int64_t row;

		if (!json_integer(i, &row) || row < 0 || (uint64_t)row >= t->shape[0])
			return adapter_refuse(m->a, e, m->err,
			    "trainable_token_indices has a token that is out of range: %.200s has %llu rows", t->name,
			    (ull)t->shape[0]);
		rows[given->count] = (struct given_row){(uint64_t)row, given->count};
		given->count++;
	}
	qsort(rows, given->count, sizeof(*rows), by_row);
	for (size_t i = 1; i < given->count; i++)
		if (rows[i].row == rows[i - 1].row)
			return adapter_refuse(m->a, e, m->err, "trainable_token_indices lists token %llu twice",
			    (ull)rows[i].row);
	given->rows = rows;
	given->stored = &e->t;
	return 0;
}

/* Returns the adapter's tensor of this role for the head or the embedding, or NULL. */
static const struct lora_entry *find_vocabulary(const struct merging *m, enum lora_role role, bool head)
{
	for (size_t i = 0; i < m->a->count; i++) {
		const struct lora_entry *e = &m->a->entries[i];

		if (e->name.role == role &&
		    (head ? tying_is_head(m->tying, e->name.module)
			  : places_find(m->places, e->name.module, "weight") == m->tying->embedding))
			return e;
	}
	return NULL;
}

/* Of a tied model PEFT saves the embedding's rows for the head, too, if both were resized. */
static bool gives_rows_of_head(const struct merging *m)
{
	const struct lora_entry *head = find_vocabulary(m, LORA_TOKENS, true), *embedding = NULL;

	if (m->tying->embedding)
		embedding = find_vocabulary(m, LORA_TOKENS, false);

	return head && !(embedding && is_same_tensor(m->places->c, &head->t, &embedding->t));
}

static int give_rows(struct merging *m, struct pair *p)
{
	struct lora_entry *e = p->tokens;
	const struct adapted_layer none = {NULL, &m->a->file, e->t.bytes};
	struct adapted_given given = {0};
	struct place *place;
	struct tensor *t;
	int rc;

	/* The embedding's once more. */
	if (tying_is_head(m->tying, p->module) && !m->head_rows && m->tying->tied && !m->tying->untied)
		return 0;
	rc = find_changed(m, e, !m->head_rows, &place);
	if (rc)
		return rc;
	t = place ? place->t : NULL;
	if (!t || t->ndim != 2 || e->t.ndim != 2 || t->shape[1] != e->t.shape[1] || !tensor_is_float(t) ||
	    !tensor_elements(t) || t->shape[1] > ADAPTED_COLUMNS_MAX ||
	    (t->origin != TENSOR_STORED && t->origin != TENSOR_ENCODED))
		return adapter_refuse(m->a, e, m->err,
		    "the model has no embedding with such rows in %.200s, or an earlier adapter changed it", p->module);
	rc = read_indices(m, e, t, &given);
	if (rc)
		return rc;
	if (adapted_add(&m->places->c->arena, t, &none))
		return err_memory(m->err);
	t->adapted->given = given;
	m->a->given_rows += given.count;
	return 0;
}

/* ---- products ---- */

static void note_rank(struct adapter *a, uint32_t rank)
{
	int64_t told;

	a->modules++;
	if (json_integer(json_get(a->config, "r"), &told) && !json_count(json_get(a->config, "rank_pattern")))
		a->other_ranks += told != rank;
	if (!a->rank_least || rank < a->rank_least)
		a->rank_least = rank;
	if (rank > a->rank_most)
		a->rank_most = rank;
}

/* ---- a pair that is stored twice ---- */

struct transposition {
	const unsigned char *a, *b;
	uint64_t rows, columns; /* of a */
	size_t width;
	bool same;
};

static void compare_transposed(void *ctx)
{
	struct transposition *x = ctx;

	x->same = true;
	for (uint64_t i = 0; x->same && i < x->rows; i++)
		for (uint64_t k = 0; x->same && k < x->columns; k++)
			x->same = memcmp(x->a + (i * x->columns + k) * x->width, x->b + (k * x->rows + i) * x->width,
				      x->width) == 0;
}

static bool is_transposed_of(const struct checkpoint *c, const struct st_tensor *a, const struct st_tensor *b)
{
	struct transposition x = {
	    checkpoint_data(c, a), checkpoint_data(c, b), a->shape[0], a->shape[1], dtype_bytes(a->dtype), false};

	return a->dtype == b->dtype && b->ndim == 2 && b->shape[0] == x.columns && b->shape[1] == x.rows &&
	       source_guard(compare_transposed, &x) == 0 && x.same;
}

/*
 * With ensure_weight_tying PEFT saves the pair of the embedding once more as the head's, transposed. It is one pair of
 * one tensor. Sets *twin if this is the head's, which then adds nothing.
 */
static int find_twin(const struct merging *m, const struct pair *p, bool *twin)
{
	const struct lora_entry *a, *b;
	double scale;
	int rc;

	*twin = false;
	if (!m->together || !m->tying->tied || m->tying->untied || !tying_is_head(m->tying, p->module))
		return 0;
	a = find_vocabulary(m, LORA_EMBEDDING_A, false);
	b = find_vocabulary(m, LORA_EMBEDDING_B, false);
	if (!a || !b)
		return 0;
	rc = lora_scale_of(&m->a->scale, a->name.module, p->rank, &scale, m->err);
	if (rc)
		return rc;
	*twin = scale == p->scale && is_transposed_of(m->places->c, &p->a->t, &b->t) &&
	        is_transposed_of(m->places->c, &p->b->t, &a->t);
	return *twin ? 0
	             : adapter_refuse(m->a, p->a, m->err,
			   "ensure_weight_tying is set, but embedding and head have pairs that differ (tensor %.200s)",
			   b->t.name);
}

static int add_pair(struct merging *m, struct pair *p)
{
	struct place *place;
	bool twin;
	int rc = find_changed(m, p->a, m->together, &place);

	if (rc)
		return rc;
	if (!place) {
		rc = pair_add_experts(p, m->places, m->err);
		note_rank(m->a, p->rank);
		return rc;
	}
	rc = lora_scale_of(&m->a->scale, p->module, p->rank, &p->scale, m->err);
	if (rc == 0)
		rc = find_twin(m, p, &twin);
	if (rc || twin)
		return rc;
	note_rank(m->a, p->rank);
	rc = pair_add(p, m->places, place->t, m->err);
	return rc || !p->bias ? rc : pair_add_bias(p, m->places, m->err);
}

static int add_group(struct merging *m, struct lora_entry *first, size_t count)
{
	struct pair p;
	int rc = pair_read(&p, m->a, first, count, m->err);

	if (rc)
		return rc;
	return p.tokens ? give_rows(m, &p) : add_pair(m, &p);
}

static bool same_group(const struct lora_name *a, const struct lora_name *b)
{
	return b->role < LORA_REPLACES && a->depth == b->depth && strcmp(a->module, b->module) == 0;
}

static int add_all(struct merging *m)
{
	struct lora_entry *list = m->a->entries;
	int rc = 0;

	for (size_t i = 0, end; rc == 0 && i < m->a->count; i = end) {
		end = i + 1;
		if (list[i].name.role == LORA_REPLACES)
			continue;
		while (end < m->a->count && same_group(&list[i].name, &list[end].name))
			end++;
		rc = add_group(m, &list[i], end - i);
	}
	return rc;
}

/* ---- adapters ---- */

static int merge_adapter(struct adapter *a, struct places *places, struct tying *tying, struct gptqfs_error *err)
{
	const bool together = a->mlx || json_bool(json_get(a->config, "ensure_weight_tying"), false);
	struct merging m = {a, places, tying, together, err, false};
	int rc;

	places->exchange_count = 0;
	rc = check_names(&m);
	m.head_rows = rc == 0 && gives_rows_of_head(&m);
	if (rc == 0)
		rc = replace_all(&m);
	if (rc == 0)
		rc = add_all(&m);
	if (rc == 0 && a->other_ranks)
		checkpoint_warn(places->c,
		    "%.300s: %zu modules have a rank other than r; PEFT fails to load such an adapter", a->config_name,
		    a->other_ranks);
	return rc;
}

static int open_adapter(struct adapter *a, struct checkpoint *c, const char *text, struct gptqfs_error *err)
{
	struct lora_request request;
	char *path;
	int rc = lora_request_parse(text, &path, &request.scale, err);

	/* It is closed in any case. */
	*a = (struct adapter){.dir = {.fd = -1, .blobs = -1}, .file = {.fd = -1}};
	request.path = path;
	if (rc == 0)
		rc = adapter_open(a, c, &request, err);
	free(path);
	return rc;
}

static int finish_tying(struct lora *l, struct checkpoint *c, const struct tying *tying, struct gptqfs_error *err)
{
	uint64_t rows;
	int rc = tying_check(tying, &rows, err);

	l->untied = tying->untied;
	if (rc || rows == tying->rows)
		return rc;
	l->vocabulary = arena_printf(&c->arena, "%llu", (ull)rows);
	l->old_vocabulary = arena_printf(&c->arena, "%llu", (ull)tying->rows);
	return l->vocabulary && l->old_vocabulary ? 0 : err_memory(err);
}

int lora_open(struct lora *l, struct checkpoint *c, const struct lora_options *options, struct tensors *ts,
    struct gptqfs_error *err)
{
	struct places places;
	struct tying tying;
	int rc = 0;

	*l = (struct lora){.base = *ts, .adapters = arena_alloc(&c->arena, options->count, sizeof(*l->adapters))};
	if (!l->adapters || places_open(&places, c, &l->base, ts))
		return err_memory(err);
	tying_open(&tying, &places);
	for (size_t i = 0; rc == 0 && i < options->count; i++) {
		rc = open_adapter(&l->adapters[l->count++], c, options->adapters[i], err);
		if (rc == 0)
			rc = merge_adapter(&l->adapters[i], &places, &tying, err);
		if (rc == 0 && !options->base_tokenizer)
			rc = tokenizer_open(&l->tokenizer, &l->adapters[i], &c->arena, err);
	}
	if (rc == 0)
		rc = finish_tying(l, c, &tying, err);
	ts->base = &l->base;
	tensors_sort(ts);
	return rc;
}

void lora_close(struct lora *l)
{
	tokenizer_close(&l->tokenizer);
	for (size_t i = 0; i < l->count; i++)
		adapter_close(&l->adapters[i]);
	l->count = 0;
}
