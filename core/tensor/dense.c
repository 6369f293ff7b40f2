/* SPDX-License-Identifier: MIT */
#include "tensor/dense.h"

#include <errno.h>

#include "tensor/contents.h"
#include "tensor/encoding.h"

enum dtype dense_dtype(const struct tensor *t, enum dtype view)
{
	const enum dtype stored = tensor_stored_dtype(t);

	if (stored == DTYPE_COUNT)
		return view;
	if (!dtype_is_cast(stored) || (stored == DTYPE_F32 && ends_with(t->name, "e_score_correction_bias")))
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
	size_t n = 0;

	if (t->origin != TENSOR_JOINED)
		return 1;
	for (size_t i = 0; i < t->part_count; i++)
		n += dense_extents(t->parts[i]);
	return n;
}

/* ---- cast elements ---- */

/* Each element is a row, because a cast knows no rows. */
struct cast_rows {
	struct generator g;
	struct source_file *file;
	const unsigned char *data;
	size_t width; /* of a stored element */
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

	job->rows->cast(job->dst, job->rows->data + job->r->row0 * job->rows->width, job->r->nrows);
}

static int fill_cast(const struct generator *g, void *dst, const struct rect *r)
{
	struct cast_job job = {(const struct cast_rows *)g, dst, r};

	return inputs_guard(&g->inputs, run_cast, &job);
}

static void needs_of_cast(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct cast_rows *rows = (const struct cast_rows *)g;

	spans_add(out, rows->file, rows->data + r->row0 * rows->width, r->nrows * rows->width);
}

static int append_cast(const struct dense *d, const struct st_tensor *stored, struct layout *layout)
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
	    .cast = d->kernels->cast[stored->dtype][d->dtype],
	};
	rows->g = (struct generator){
	    .ops = &ops,
	    .rows = stored->bytes / rows->width,
	    .row_bytes = bytes,
	    .tile_rows = 65536 / bytes,
	    .inputs = {&rows->file, 1, NULL},
	};
	layout_add_generator(layout, &rows->g);
	return 0;
}

/* ---- by origin ---- */

static int append_stored(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	const struct st_tensor *stored = t->stored;

	if (stored->dtype != dense_dtype(t, d->dtype))
		return append_cast(d, stored, layout);
	layout_add_source(layout, checkpoint_file(d->c, stored), stored->begin, stored->bytes);
	return 0;
}

static int append_encoded(const struct dense *d, struct encoded *e, struct layout *layout)
{
	const struct generator **rows = &e->dense[d->dtype];
	int rc = *rows ? 0 : e->encoding->rows(e, d->kernels, d->dtype, &d->c->arena, rows);

	if (rc == 0)
		layout_add_generator(layout, *rows);
	return rc;
}

static int append_zeros(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	const size_t bytes = (size_t)t->shape[0] * dtype_bytes(d->dtype);
	char *zeros = arena_alloc(&d->c->arena, bytes, 1);

	if (zeros)
		layout_add_bytes(layout, zeros, bytes);
	return zeros ? 0 : -ENOMEM;
}

static int append_tensor(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	int rc = 0;

	switch ((enum tensor_origin)t->origin) {
	case TENSOR_STORED:
		return append_stored(d, t, layout);
	case TENSOR_ENCODED:
		return append_encoded(d, t->encoded, layout);
	case TENSOR_ZEROS:
		return append_zeros(d, t, layout);
	case TENSOR_JOINED:
		/* Rows that follow one another: that is all. */
		for (size_t i = 0; rc == 0 && i < t->part_count; i++)
			rc = append_tensor(d, t->parts[i], layout);
		break;
	}
	return rc;
}

int dense_append(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	int rc = contents_note(layout, &d->c->arena, t, dense_dtype(t, d->dtype));

	return rc ? rc : append_tensor(d, t, layout);
}
