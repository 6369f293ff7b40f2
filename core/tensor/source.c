/* SPDX-License-Identifier: MIT */
#include "tensor/source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "quant/unsupported.h"
#include "tensor/architecture.h"
#include "tensor/join.h"

static const struct source_ops *const families[] = {&source_gptq};

/* Marlin's tensors are X.B and X.s; both names alone are too short to mean anything. */
static bool is_marlin(const struct checkpoint *c, const struct st_tensor *t)
{
	const size_t len = strlen(t->name);
	char other[512];

	if (len + 1 > sizeof(other) || !ends_with(t->name, ".B") || t->dtype != DTYPE_I32)
		return false;
	memcpy(other, t->name, len + 1);
	other[len - 1] = 's';
	return checkpoint_find(c, other) != NULL;
}

/* Families that perhaps no configuration names, but their tensors do. */
static int refuse_foreign(const struct checkpoint *c, struct gptqfs_error *err)
{
	struct foreign foreign = foreign_by_label("marlin");
	const struct st_tensor *first = NULL;

	for (size_t i = 0; !first && i < c->tensor_count; i++) {
		const struct st_tensor *t = &c->tensors[i];
		const struct foreign found = foreign_by_tensor(t->name, t->dtype);

		if (found.what || is_marlin(c, t))
			first = t;
		if (found.what)
			foreign = found;
	}
	if (!first)
		return 0;
	return err_set(err, -ENOTSUP, "%s: tensor %.200s belongs to %s, which is not served; %s",
	    checkpoint_file(c, first)->name, first->name, foreign.what, foreign.remedy);
}

bool tensor_is_float(const struct tensor *t)
{
	return !t->stored || dtype_is_cast(t->stored->dtype);
}

uint64_t tensor_elements(const struct tensor *t)
{
	uint64_t elements = 1;

	for (int k = 0; k < t->ndim; k++)
		elements *= t->shape[k];
	return elements;
}

static int by_kind_and_name(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;

	return tensor_is_float(x) != tensor_is_float(y) ? tensor_is_float(y) - tensor_is_float(x)
	                                                : strcmp(x->name, y->name);
}

void source_sort(struct source *s)
{
	qsort(s->tensors, s->tensor_count, sizeof(*s->tensors), by_kind_and_name);
	for (s->float_count = 0; s->float_count < s->tensor_count; s->float_count++)
		if (!tensor_is_float(&s->tensors[s->float_count]))
			break;
}

static const struct tensor *search(const struct tensor *from, size_t count, const char *name)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(name, from[middle].name);

		if (order == 0)
			return &from[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const struct tensor *source_find(const struct source *s, const char *name)
{
	const struct tensor *t = search(s->tensors, s->float_count, name);

	return t ? t : search(s->tensors + s->float_count, s->tensor_count - s->float_count, name);
}

/* Gives tensors the names and shapes that the architecture's class wants. */
static int fit_architecture(struct checkpoint *c, struct source *s, struct gptqfs_error *err)
{
	const struct architecture *a = architecture_find(c->config_json);

	for (size_t i = 0; i < s->tensor_count; i++) {
		s->tensors[i].name = architecture_rename(a, s->tensors[i].name, &c->arena);
		if (!s->tensors[i].name)
			return err_memory(err);
	}
	source_sort(s);
	if (join_tensors(&c->arena, s, a->joins))
		return err_memory(err);
	for (size_t i = 1; i < s->tensor_count; i++)
		if (strcmp(s->tensors[i - 1].name, s->tensors[i].name) == 0)
			return err_set(err, -EBADMSG,
			    "%s: two tensors would be named %.200s in the dense model; remove the one that does not "
			    "belong to it",
			    c->dir.path, s->tensors[i].name);
	return 0;
}

static int open_family(struct checkpoint *c, const struct source_ops *ops, struct source *out, struct gptqfs_error *err)
{
	int rc = ops->open(c, out, err);

	return rc ? rc : fit_architecture(c, out, err);
}

int source_open(struct checkpoint *c, struct source *out, struct gptqfs_error *err)
{
	int rc = refuse_foreign(c, err);

	if (rc)
		return rc;
	for (size_t i = 0; i < sizeof(families) / sizeof(*families); i++)
		if (families[i]->probe(c))
			return open_family(c, families[i], out, err);
	return err_set(err, -ENOTSUP,
	    "%s: no quantized tensors (expected names that end in .qweight): the model is not quantized; use the "
	    "directory "
	    "as it is",
	    c->dir.path);
}
