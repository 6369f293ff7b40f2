/* SPDX-License-Identifier: MIT */
#include "tensor/contents.h"

#include <errno.h>
#include <string.h>

/* "model.norm" of "model.norm.weight". */
static size_t module_length(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? (size_t)(dot - name) : strlen(name);
}

static bool same_module(const char *a, const char *b)
{
	return module_length(a) == module_length(b) && memcmp(a, b, module_length(a)) == 0;
}

static bool contents_is_quantized(const struct tensor *t)
{
	size_t count;

	return tensor_encoded(tensor_parts(&t, &count)[0]) != NULL;
}

int contents_note(struct layout *layout, struct arena *arena, const struct tensor *t, enum dtype dtype)
{
	struct contents *c = layout->contents;

	if (!c) {
		c = layout->contents = arena_alloc(arena, 1, sizeof(*c));
		if (!c)
			return -ENOMEM;
		c->tensor = t;
		c->dtype = dtype == DTYPE_COUNT ? NULL : dtype_name(dtype); /* floats come first, so it is of a float */
	} else if (!same_module(c->tensor->name, t->name)) {
		c->several = true;
	} else if (!contents_is_quantized(c->tensor) && contents_is_quantized(t)) {
		c->tensor = t;
	}
	c->tensors++;
	return 0;
}
