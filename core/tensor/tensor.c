/* SPDX-License-Identifier: MIT */
#include "tensor/tensor.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/encoding.h"

const struct tensor *tensor_base(const struct tensor *t)
{
	return t->origin == TENSOR_ADAPTED ? t->adapted->base : t;
}

bool tensor_is_float(const struct tensor *t)
{
	/* F8 with a scale was taken by a family, or refused. */
	return t->origin != TENSOR_STORED || t->stored->dtype < DTYPE_CASTS;
}

uint64_t tensor_elements(const struct tensor *t)
{
	uint64_t elements = 1;

	for (int k = 0; k < t->ndim; k++)
		elements *= t->shape[k];
	return elements;
}

enum dtype tensor_stored_dtype(const struct tensor *t)
{
	return t->origin == TENSOR_STORED ? t->stored->dtype : DTYPE_COUNT;
}

struct encoded *tensor_encoded(const struct tensor *t)
{
	t = tensor_base(t);
	return t->origin == TENSOR_ENCODED ? t->encoded : NULL;
}

const struct tensor *const *tensor_parts(const struct tensor *const *t, size_t *count)
{
	if ((*t)->origin == TENSOR_STACKED) {
		*count = (*t)->stacked->experts * (*t)->stacked->per_expert;
		return (*t)->stacked->part;
	}
	*count = (*t)->origin == TENSOR_JOINED ? (*t)->part_count : 1;
	return (*t)->origin == TENSOR_JOINED ? (*t)->parts : t;
}

uint64_t tensor_stored_bytes(const struct tensor *t)
{
	const struct tensor *const *parts;
	uint64_t bytes = 0;
	size_t count;

	if (t->origin == TENSOR_STORED)
		return t->stored->bytes;
	if (t->origin == TENSOR_ENCODED)
		return t->encoded->stored_bytes;
	if (t->origin == TENSOR_ZEROS)
		return 0;
	if (t->origin == TENSOR_ADAPTED)
		return tensor_stored_bytes(t->adapted->base) + t->adapted->bytes;
	parts = tensor_parts(&t, &count);
	for (size_t i = 0; i < count; i++)
		bytes += tensor_stored_bytes(parts[i]);
	return bytes;
}

const char *tensor_short_name(const struct tensor *t, struct arena *arena)
{
	const size_t len = strlen(t->name) - (ends_with(t->name, ".weight") ? strlen(".weight") : 0);
	const char *from = t->name + len;

	while (from > t->name && from[-1] != '.')
		from--;
	return arena_strndup(arena, from, (size_t)(t->name + len - from));
}

static int by_kind_and_name(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	return tensor_is_float(x) != tensor_is_float(y) ? tensor_is_float(y) - tensor_is_float(x)
	                                                : strcmp(x->name, y->name);
}

void tensors_sort(struct tensors *ts)
{
	qsort(ts->list, ts->count, sizeof(*ts->list), by_kind_and_name);
	for (ts->float_count = 0; ts->float_count < ts->count; ts->float_count++)
		if (!tensor_is_float(&ts->list[ts->float_count]))
			break;
}

static int by_tensor_name(const void *a, const void *b)
{
	return strcmp(((const struct tensor *)a)->name, ((const struct tensor *)b)->name);
}

const struct tensor *tensors_find(const struct tensors *ts, const char *name)
{
	const struct tensor key = {.name = name}, *found = NULL;

	if (ts->float_count)
		found = bsearch(&key, ts->list, ts->float_count, sizeof(key), by_tensor_name);
	if (!found && ts->count > ts->float_count)
		found =
		    bsearch(&key, ts->list + ts->float_count, ts->count - ts->float_count, sizeof(key), by_tensor_name);
	return found;
}
