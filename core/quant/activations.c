/* SPDX-License-Identifier: MIT */
#include "quant/activations.h"

#include <string.h>

/* Last components of names. Those of caches are beside the projections of an attention, one level up. */
static const struct {
	const char *suffix;
	bool cache;
} activations[] = {
    {".input_scale", false},
    {".input_scale_ub", false},
    {".input_zero_point", false},
    {".input_global_scale", false},
    {".activation_scale", false},
    {".input_activation_scale", false},
    {".output_activation_scale", false},
    {".output_scale", false},
    {".output_zero_point", false},
    {".qscale_act", false},
    {".k_cache_scale", true},
    {".v_cache_scale", true},
    {".q_scale", true},
    {".k_scale", true},
    {".v_scale", true},
    {".prob_scale", true},
    {".q_zero_point", true},
    {".k_zero_point", true},
    {".v_zero_point", true},
    {".q_global_scale", true},
    {".k_global_scale", true},
    {".v_global_scale", true},
};

/* Compares a prefix with a name. */
static int compare_prefix(const struct st_tensor *t, const char *prefix, size_t len)
{
	return strncmp(t->name, prefix, len);
}

/* Returns the first tensor whose name is not below `len` bytes of a name. */
static size_t first_below(const struct checkpoint *c, const char *name, size_t len)
{
	size_t low = 0, high = c->tensor_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (compare_prefix(&c->tensors[middle], name, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/*
 * True if a family has taken a tensor of the module named by `len` bytes of `name`, including the dot; with `below`,
 * also of a module inside it.
 */
static bool is_taken_module(const struct opening *o, const char *name, size_t len, bool below)
{
	const struct checkpoint *c = o->c;

	for (size_t i = first_below(c, name, len + 1); i < c->tensor_count; i++) {
		if (compare_prefix(&c->tensors[i], name, len + 1) != 0)
			return false;
		if (o->taken[i] && (below || !strchr(c->tensors[i].name + len + 1, '.')))
			return true;
	}
	return false;
}

static bool is_activation(const struct opening *o, const struct st_tensor *t)
{
	for (size_t i = 0; i < sizeof(activations) / sizeof(*activations); i++)
		if (ends_with(t->name, activations[i].suffix))
			return is_taken_module(o, t->name, strlen(t->name) - strlen(activations[i].suffix),
			    activations[i].cache);
	return false;
}

void activations_hide(struct opening *o)
{
	for (size_t i = 0; o->hide_activations && i < o->c->tensor_count; i++)
		if (!o->taken[i] && is_activation(o, &o->c->tensors[i]))
			opening_take(o, &o->c->tensors[i]);
}
