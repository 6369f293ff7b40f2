/* SPDX-License-Identifier: MIT */
#include "tensor/dense.h"

#include <errno.h>

enum dtype dense_dtype(const struct tensor *t, enum dtype view)
{
	if (!t->stored)
		return view;
	if (!dtype_is_cast(t->stored->dtype) ||
	    (t->stored->dtype == DTYPE_F32 && ends_with(t->name, "e_score_correction_bias")))
		return t->stored->dtype;
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
	size_t n = t->parts ? 0 : 1;

	for (size_t i = 0; i < t->part_count; i++)
		n += dense_extents(t->parts[i]);
	return n;
}

/* A bias that one of several joined modules lacks. */
static int append_zeros(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	const size_t bytes = (size_t)t->shape[0] * dtype_bytes(d->dtype);
	char *zeros = arena_alloc(&d->c->arena, bytes, 1);

	if (zeros)
		layout_add_bytes(layout, zeros, bytes);
	return zeros ? 0 : -ENOMEM;
}

static int append_module(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	const struct generator **known = &t->module->generators[d->dtype];

	if (!*known) {
		struct generator *g = arena_alloc(&d->c->arena, 1, sizeof(*g));

		if (!g)
			return -ENOMEM;
		*g = generator_dequant(t, d->kernels, d->dtype);
		*known = g;
	}
	layout_add_generator(layout, *known);
	return 0;
}

static int append_stored(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	const struct st_tensor *stored = t->stored;
	struct source_file *f = checkpoint_file(d->c, stored);
	struct generator *g;

	if (stored->dtype == dense_dtype(t, d->dtype)) {
		layout_add_source(layout, f, stored->begin, stored->bytes);
		return 0;
	}
	g = arena_alloc(&d->c->arena, 1, sizeof(*g));
	if (!g)
		return -ENOMEM;
	*g = generator_cast(t, f, d->kernels, d->dtype);
	layout_add_generator(layout, g);
	return 0;
}

static int append(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	int rc = 0;

	if (t->module)
		return append_module(d, t, layout);
	if (t->stored)
		return append_stored(d, t, layout);
	if (!t->parts)
		return append_zeros(d, t, layout);
	/* Joined rows follow one another; that is all. */
	for (size_t i = 0; rc == 0 && i < t->part_count; i++)
		rc = append(d, t->parts[i], layout);
	return rc;
}

int dense_append(const struct dense *d, const struct tensor *t, struct layout *layout)
{
	layout_note_tensor(layout, t, dense_dtype(t, d->dtype));
	return append(d, t, layout);
}
