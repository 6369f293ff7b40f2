/* SPDX-License-Identifier: MIT */

/*
 * Pairs tensors of two models. Each has its parts under the names of the dense views, and what they are parts of:
 * stacks of experts there, and joined modules in the fused views. So a stored qkv_proj finds q_proj, k_proj and v_proj
 * of the other model as the rows of its fused qkv_proj, and a stack of experts finds single ones; and the other way
 * round, even where the rows of single experts are columns of the stack.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "report/stats.h"

/* ---- rows ---- */

/* Rows computed at a time: a multiple of all usual run_rows. */
#define BAND_ROWS 64

/* True if columns can be read without the rest of their rows. */
static bool has_columns(const struct stats_rows *rows, uint64_t matrix_rows)
{
	const struct generator *g = rows->list[0];

	return rows->count == 1 && g->step &&
	       (!g->run_rows || (BAND_ROWS % g->run_rows == 0 && matrix_rows % g->run_rows == 0));
}

static int fill_from_columns(const struct stats_rows *rows, float *dst, uint64_t row0, uint64_t count)
{
	const struct generator *g = rows->list[0];
	const uint64_t step = rows->column_step, first = (rows->column0 + row0 * step) * sizeof(*dst);
	const uint64_t from = first / g->step * g->step;
	const uint64_t end = first + ((count - 1) * step + 1) * sizeof(*dst), up = div_up(end, g->step) * g->step;
	const uint64_t bytes = (up < g->row_bytes ? up : g->row_bytes) - from, width = bytes / sizeof(*dst);
	float *tile = malloc(BAND_ROWS * bytes);
	int rc = tile ? 0 : -ENOMEM;

	for (uint64_t k = 0; rc == 0 && k < rows->matrix_rows; k += BAND_ROWS) {
		const uint64_t n = rows->matrix_rows - k < BAND_ROWS ? rows->matrix_rows - k : BAND_ROWS;
		const float *src = tile + (first - from) / sizeof(*dst);

		rc = g->ops->fill(g, tile, &(struct rect){rows->skip + k, n, from, bytes});
		for (uint64_t r = 0; rc == 0 && r < count; r++)
			for (uint64_t i = 0; i < n; i++)
				dst[r * rows->matrix_rows + k + i] = src[i * width + r * step];
	}
	free(tile);
	return rc;
}

int stats_rows_fill(const struct stats_rows *rows, float *dst, uint64_t row0, uint64_t count)
{
	uint64_t at = row0 + rows->skip;
	int rc = 0;

	if (rows->matrix_rows)
		return fill_from_columns(rows, dst, row0, count);
	for (size_t i = 0; rc == 0 && count && i < rows->count; i++) {
		const struct generator *g = rows->list[i];
		const uint64_t n = at >= g->rows ? 0 : count < g->rows - at ? count : g->rows - at;

		if (n)
			rc = generator_fill(g, dst, at, n);
		dst += n * (g->row_bytes / sizeof(*dst));
		at = n ? 0 : at - g->rows;
		count -= n;
	}
	return rc ? rc : count ? -EIO : 0;
}

/* ---- leaves ---- */

static int add_leaf(struct stats_leaves *l, const struct stats_leaf *leaf)
{
	if (l->count == l->room) {
		const size_t room = l->room ? l->room * 2 : 256;
		struct stats_leaf *list = reallocarray(l->list, room, sizeof(*list));

		if (!list)
			return -ENOMEM;
		l->list = list;
		l->room = room;
	}
	l->list[l->count++] = *leaf;
	return 0;
}

/* True if the rows of its parts in sequence are its rows. */
static bool is_rows(const struct tensor *t)
{
	return t->ndim >= 2 &&
	       (t->origin == TENSOR_JOINED || (t->origin == TENSOR_STACKED && t->stacked->order == STACK_ROWS));
}

static bool is_whole(const struct tensor *t)
{
	return t->origin == TENSOR_JOINED || t->origin == TENSOR_STACKED;
}

static uint64_t rows_of(const struct tensor *t)
{
	const uint64_t elements = tensor_elements(t), columns = t->ndim ? t->shape[t->ndim - 1] : 1;

	return columns ? elements / columns : 0;
}

static int add_leaf_parts(struct stats_leaves *l, const struct tensor *t)
{
	size_t count;
	const struct tensor *const *parts = tensor_parts(&t, &count);
	uint64_t row = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++) {
		if (parts[i]->origin != TENSOR_ZEROS && !is_whole(parts[i]))
			rc = add_leaf(l,
			    &(struct stats_leaf){parts[i]->name, parts[i], is_whole(t) ? t : NULL, row, false});
		row += rows_of(parts[i]);
	}
	return rc;
}

static int stats_leaf_compare(const void *a, const void *b)
{
	return strcmp(((const struct stats_leaf *)a)->name, ((const struct stats_leaf *)b)->name);
}

int stats_leaves_make(struct stats_leaves *l, const struct plan *p)
{
	int rc = 0;

	*l = (struct stats_leaves){.plan = p};
	for (size_t i = 0; rc == 0 && i < p->tensors->count; i++)
		if (tensor_is_float(&p->tensors->list[i]))
			rc = add_leaf_parts(l, &p->tensors->list[i]);
	for (size_t i = 0; rc == 0 && i < p->fused->count; i++)
		if (p->fused->list[i].origin == TENSOR_JOINED)
			rc = add_leaf_parts(l, &p->fused->list[i]);
	if (l->count)
		qsort(l->list, l->count, sizeof(*l->list), stats_leaf_compare);
	return rc;
}

void stats_leaves_free(struct stats_leaves *l)
{
	free(l->list);
	*l = (struct stats_leaves){0};
}

/* Returns the first leaf of that name, or the end of the list. */
static struct stats_leaf *leaves_find(const struct stats_leaves *l, const char *name)
{
	size_t low = 0, high = l->count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (strcmp(l->list[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return l->list + low;
}

static bool leaf_is(const struct stats_leaves *l, const struct stats_leaf *leaf, const char *name)
{
	return leaf < l->list + l->count && strcmp(leaf->name, name) == 0;
}

static void use(const struct stats_leaves *l, const char *name)
{
	for (struct stats_leaf *leaf = leaves_find(l, name); leaf_is(l, leaf, name); leaf++)
		leaf->used = true;
}

/* ---- counterparts ---- */

/* Returns a tensor of the dense or of the fused views, or NULL. */
static const struct tensor *find_tensor(const struct plan *p, const char *name)
{
	const struct tensor *t = tensors_find(p->tensors, name);

	return t ? t : tensors_find(p->fused, name);
}

static bool same_shape(const struct tensor *a, const struct tensor *b)
{
	return a->ndim == b->ndim && memcmp(a->shape, b->shape, a->ndim * sizeof(*a->shape)) == 0;
}

/* The matrices of experts that are transposed only exist as parts of a file. */
static int stack_rows(const struct dense *d, const struct tensor *t, struct stats_rows *out)
{
	struct layout layout = {0};
	const struct generator **list;
	int rc = layout_reserve(&layout, &d->c->arena, dense_extents(t));

	if (rc == 0)
		rc = dense_append(d, t, &layout);
	list = rc ? NULL : arena_alloc(&d->c->arena, layout.count, sizeof(const struct generator *));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < layout.count; i++)
		list[i] = layout.extents[i].from.generator;
	*out = (struct stats_rows){.list = list, .count = layout.count};
	return 0;
}

static int tensor_rows(const struct plan *p, const struct tensor *t, struct stats_rows *out)
{
	const struct dense d = {p->c, p->kernels, DTYPE_F32};
	const struct tensor *const *parts;
	const struct generator **list;
	size_t count;
	int rc = 0;

	if (is_whole(t) && !is_rows(t))
		return stack_rows(&d, t, out);
	parts = tensor_parts(&t, &count);
	list = arena_alloc(&p->c->arena, count, sizeof(const struct generator *));
	if (!list)
		return -ENOMEM;
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = dense_rows(&d, parts[i], &list[i]);
	*out = (struct stats_rows){.list = list, .count = count};
	return rc;
}

static void use_parts(struct stats_leaves *other, const struct tensor *t)
{
	size_t count;
	const struct tensor *const *parts = tensor_parts(&t, &count);

	for (size_t i = 0; i < count; i++)
		use(other, parts[i]->name);
}

/* A bias that is joined or stacked has parts that are not rows. */
static bool is_comparable(const struct tensor *t)
{
	return !is_whole(t) || t->ndim >= 2;
}

/* Takes `theirs` as the counterpart of `mine`, if it has that shape. */
static int try_tensor(const struct tensor *mine, const struct tensor *theirs, struct stats_leaves *other,
    struct stats_rows *out, const char **reason)
{
	if (!theirs || !tensor_is_float(theirs) || !is_comparable(theirs))
		return 0;
	use_parts(other, theirs);
	if (!same_shape(mine, theirs)) {
		*reason = "shape";
		return 0;
	}
	*reason = NULL;
	return tensor_rows(other->plan, theirs, out);
}

/* Takes columns of a matrix of `theirs`, a stack as the class has it, as the counterpart of a single expert. */
static int try_columns(const struct stats_leaf *l, const struct tensor *theirs, struct stats_leaves *other,
    struct stats_rows *out, const char **reason)
{
	const uint64_t *shape = l->whole->shape; /* [experts, in_features, out_features of all parts] */
	const struct stacked *s;
	int rc = try_tensor(l->whole, theirs, other, out, reason);

	if (rc || *reason)
		return rc;
	if (l->whole->ndim != 3 || !has_columns(out, shape[1])) {
		*out = (struct stats_rows){0};
		*reason = "transposed";
		return 0;
	}
	s = l->whole->stacked; /* joined tensors have fewer dimensions */
	out->skip = l->row0 / shape[2] * shape[1];
	out->matrix_rows = shape[1];
	out->column0 = l->row0 % shape[2];
	out->column_step = 1;
	if (s->order == STACK_INTERLEAVED) {
		out->column0 /= shape[2] / s->per_expert;
		out->column_step = s->per_expert;
	}
	return 0;
}

int stats_pair(const struct stats_leaves *mine, const struct tensor *leaf, struct stats_leaves *other,
    struct stats_rows *out, const char **reason)
{
	struct stats_leaf *found = leaves_find(other, leaf->name);
	const struct tensor *same = leaf_is(other, found, leaf->name) ? found->tensor : NULL;
	int rc;

	*reason = "absent";
	rc = try_tensor(leaf, same ? same : find_tensor(other->plan, leaf->name), other, out, reason);
	for (const struct stats_leaf *l = leaves_find(mine, leaf->name);
	     rc == 0 && *reason && leaf_is(mine, l, leaf->name); l++) {
		const struct tensor *theirs = l->whole ? find_tensor(other->plan, l->whole->name) : NULL;

		if (!theirs || is_whole(theirs))
			continue;
		if (!is_rows(l->whole)) {
			rc = try_columns(l, theirs, other, out, reason);
			break;
		}
		rc = try_tensor(l->whole, theirs, other, out, reason);
		out->skip = l->row0;
	}
	return rc;
}
