/* SPDX-License-Identifier: MIT */
#include "tensor/dense.h"

#include <errno.h>

#include "tensor/adapted.h"
#include "tensor/contents.h"
#include "tensor/encoding.h"
#include "tree/transpose.h"

enum dtype dense_dtype(const struct tensor *t, enum dtype view)
{
	const enum dtype stored = tensor_stored_dtype(t);

	if (stored == DTYPE_COUNT)
		return view;
	if (stored >= DTYPE_CASTS || (stored == DTYPE_F32 && ends_with(t->name, "e_score_correction_bias")))
		return stored;
	return view;
}

struct st_tensor dense_shown(const struct dense *d, const struct tensor *t)
{
	const enum dtype dtype = dense_dtype(t, d->dtype);

	return (struct st_tensor){.name = t->name,
	    .shape = t->shape,
	    .ndim = t->ndim,
	    .dtype = (uint8_t)dtype,
	    .bytes = tensor_is_float(t) ? tensor_elements(t) * dtype_bytes(dtype) : t->stored->bytes};
}

size_t dense_extents(const struct tensor *t)
{
	const struct tensor *const *parts;
	size_t count, n = 0;

	if (t->origin == TENSOR_STACKED && t->stacked->order != STACK_ROWS)
		return t->stacked->experts;
	if (t->origin != TENSOR_JOINED && t->origin != TENSOR_STACKED)
		return 1;
	parts = tensor_parts(&t, &count);
	for (size_t i = 0; i < count; i++)
		n += dense_extents(parts[i]);
	return n;
}

/* ---- cast elements ---- */

struct cast_rows {
	struct generator g;
	struct source_file *file;
	const unsigned char *data;
	size_t width;     /* of a stored element */
	uint64_t columns; /* of a row */
	cast_fn *cast;
};

struct cast_job {
	const struct cast_rows *rows;
	void *dst;
	const struct rect *r;
};

static void run_cast(void *ctx)
{
	const struct cast_job *job = ctx;
	const struct cast_rows *rows = job->rows;
	const struct rect *r = job->r;
	const size_t shown = rows->g.row_bytes / rows->columns;
	const unsigned char *data = rows->data + (r->row0 * rows->columns + r->from / shown) * rows->width;

	if (r->bytes == rows->g.row_bytes) {
		rows->cast(job->dst, data, r->nrows * rows->columns);
		return;
	}
	for (uint64_t i = 0; i < r->nrows; i++)
		rows->cast((unsigned char *)job->dst + i * r->bytes, data + i * rows->columns * rows->width,
		    r->bytes / shown);
}

static int fill_cast(const struct generator *g, void *dst, const struct rect *r)
{
	struct cast_job job = {(const struct cast_rows *)g, dst, r};

	return inputs_guard(&g->inputs, run_cast, &job);
}

static void needs_of_cast(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct cast_rows *rows = (const struct cast_rows *)g;

	const size_t row = rows->columns * rows->width;

	spans_add(out, rows->file, rows->data + r->row0 * row, r->nrows * row);
}

/* Used even for a tensor that has the wanted type, when rows that can be cut are needed. */
static int make_cast(const struct dense *d, const struct st_tensor *stored, uint64_t columns,
    const struct generator **g)
{
	static const struct generator_ops ops = {fill_cast, needs_of_cast};
	const uint32_t bytes = (uint32_t)dtype_bytes(d->dtype);
	struct cast_rows *rows = arena_alloc(&d->c->arena, 1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	*rows = (struct cast_rows){
	    .file = checkpoint_file(d->c, stored),
	    .data = checkpoint_data(d->c, stored),
	    .width = dtype_bytes(stored->dtype),
	    .columns = columns,
	    .cast = d->kernels->cast[stored->dtype][d->dtype],
	};
	rows->g = (struct generator){
	    .ops = &ops,
	    .rows = stored->bytes / rows->width / columns,
	    .row_bytes = columns * bytes,
	    .tile_rows = 65536 / bytes,
	    .step = columns > 1 ? bytes : 0,
	    .inputs = {&rows->file, 1, NULL},
	};
	*g = &rows->g;
	return 0;
}

/* Each element is a row of its own: casts need no longer ones. */
static int append_cast(const struct dense *d, const struct st_tensor *stored, struct layout *layout)
{
	const struct generator *g;
	int rc = make_cast(d, stored, 1, &g);

	if (rc == 0)
		layout_add_generator(layout, g);
	return rc;
}

/* ---- by origin ---- */

static int dense_append_stored(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	const struct st_tensor *stored = t->stored;

	if (stored->dtype != dense_dtype(t, d->dtype))
		return append_cast(d, stored, layout);
	layout_add_source(layout, checkpoint_file(d->c, stored), stored->begin, stored->bytes);
	return 0;
}

static int make_encoded(const struct dense *d, struct encoded *e, const struct generator **g)
{
	const struct generator **rows = &e->dense[d->dtype];
	int rc = *rows ? 0 : e->encoding->rows(e, d->kernels, d->dtype, &d->c->arena, rows);

	*g = *rows;
	return rc;
}

static int append_encoded(const struct dense *d, struct encoded *e, struct layout *layout)
{
	const struct generator *g;
	int rc = make_encoded(d, e, &g);

	if (rc == 0)
		layout_add_generator(layout, g);
	return rc;
}

static int dense_append_zeros(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	const size_t bytes = (size_t)t->shape[0] * dtype_bytes(d->dtype);
	char *zeros = arena_alloc(&d->c->arena, bytes, 1);

	if (zeros)
		layout_add_bytes(layout, zeros, bytes);
	return zeros ? 0 : -ENOMEM;
}

static int make_adapted(const struct dense *d, struct adapted *a, const struct generator **g);

int dense_rows(const struct dense *d, const struct tensor *t, const struct generator **g)
{
	if (t->origin == TENSOR_ADAPTED)
		return make_adapted(d, t->adapted, g);
	if (t->origin == TENSOR_ENCODED)
		return make_encoded(d, t->encoded, g);
	return make_cast(d, t->stored, t->ndim ? t->shape[t->ndim - 1] : 1, g);
}

static int make_adapted(const struct dense *d, struct adapted *a, const struct generator **g)
{
	const struct generator **rows = &a->dense[d->dtype];
	struct adapted_make make = {a, d->c, d->kernels, NULL, d->dtype};
	struct dense base = *d;
	int rc = 0;

	base.dtype = adapted_base_dtype(a, d->dtype);
	if (!*rows)
		rc = dense_rows(&base, a->base, &make.base);
	if (rc == 0 && !*rows)
		rc = adapted_rows(&d->c->arena, &make, rows);
	*g = *rows;
	return rc;
}

static int append_adapted(const struct dense *d, struct adapted *a, struct layout *layout)
{
	const struct generator *g;
	int rc = make_adapted(d, a, &g);

	if (rc == 0)
		layout_add_generator(layout, g);
	return rc;
}

/* The matrix of one expert, transposed. */
static int make_transposed(const struct dense *d, const struct stacked *s, size_t expert, const struct generator **g)
{
	struct transpose transpose = {
	    .count = s->per_expert,
	    .interleaved = s->order == STACK_INTERLEAVED,
	    .element = (uint32_t)dtype_bytes(d->dtype),
	};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < s->per_expert; i++) {
		const struct tensor *t = s->part[expert * s->per_expert + i];

		/* Of a bias, each element is a row. */
		if (t->origin == TENSOR_STORED && t->ndim == 1)
			rc = make_cast(d, t->stored, 1, &transpose.of[i]);
		else
			rc = dense_rows(d, t, &transpose.of[i]);
	}
	return rc ? rc : transpose_make(&d->c->arena, &transpose, g);
}

static int append_transposed(const struct dense *d, struct stacked *s, struct layout *layout)
{
	const struct generator ***transposed = &s->transposed[d->dtype];
	int rc = 0;

	if (!*transposed) {
		*transposed = arena_alloc(&d->c->arena, s->experts, sizeof(**transposed));
		if (!*transposed)
			return -ENOMEM;
	}
	for (size_t i = 0; rc == 0 && i < s->experts; i++) {
		if (!(*transposed)[i])
			rc = make_transposed(d, s, i, &(*transposed)[i]);
		if (rc == 0)
			layout_add_generator(layout, (*transposed)[i]);
	}
	return rc;
}

static int dense_append_tensor(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	const struct tensor *const *parts;
	size_t count;
	int rc = 0;

	switch ((enum tensor_origin)t->origin) {
	case TENSOR_STORED:
		return dense_append_stored(d, t, layout);
	case TENSOR_ENCODED:
		return append_encoded(d, t->encoded, layout);
	case TENSOR_ZEROS:
		return dense_append_zeros(d, t, layout);
	case TENSOR_ADAPTED:
		return append_adapted(d, t->adapted, layout);
	case TENSOR_STACKED:
		if (t->stacked->order != STACK_ROWS)
			return append_transposed(d, t->stacked, layout);
		/* fall through */
	case TENSOR_JOINED:
		/* The rows of the parts simply follow one another. */
		parts = tensor_parts(&t, &count);
		for (size_t i = 0; rc == 0 && i < count; i++)
			rc = dense_append_tensor(d, parts[i], layout);
		break;
	}
	return rc;
}

int dense_append(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	int rc = contents_note(layout, &d->c->arena, t, dense_dtype(t, d->dtype));

	return rc ? rc : dense_append_tensor(d, t, layout);
}
