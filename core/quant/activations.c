/* SPDX-License-Identifier: MIT */
#include "quant/activations.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

/* Last components of names. Those of caches are beside an attention's projections, one level up. */
static const struct {
	const char *last;
	bool cache;
} activations[] = {
    {"input_scale", false},
    {"input_scale_ub", false},
    {"input_zero_point", false},
    {"input_global_scale", false},
    {"activation_scale", false},
    {"input_activation_scale", false},
    {"output_activation_scale", false},
    {"output_scale", false},
    {"output_zero_point", false},
    {"qscale_act", false},
    {"k_bias", false}, /* of a cache, but inside k_proj: ModelOpt's KV_CACHE_NVFP4_AFFINE */
    {"v_bias", false},
    {"k_cache_scale", true},
    {"v_cache_scale", true},
    {"q_scale", true},
    {"k_scale", true},
    {"v_scale", true},
    {"prob_scale", true},
    {"q_zero_point", true},
    {"k_zero_point", true},
    {"v_zero_point", true},
    {"q_global_scale", true},
    {"k_global_scale", true},
    {"v_global_scale", true},
};

/* The tensors that families have taken. */
struct takings {
	const struct opening *o;
	size_t *next;                       /* [tensor_count + 1] the first one taken from there on */
	const struct st_tensor **by_module; /* [count] sorted by their modules */
	size_t count;
};

/* Returns the length of a name before its last dot, 0 if there is none. */
static size_t taken_module_length(const char *name)
{
	const char *dot = strrchr(name, '.');

	return dot ? (size_t)(dot - name) : 0;
}

static int by_taken_module(const void *a, const void *b)
{
	const char *x = (*(const struct st_tensor *const *)a)->name, *y = (*(const struct st_tensor *const *)b)->name;
	const size_t m = taken_module_length(x), n = taken_module_length(y);
	const int order = memcmp(x, y, m < n ? m : n);

	return order ? order : (m > n) - (m < n);
}

static int list_takings(struct takings *k)
{
	const struct opening *o = k->o;
	const size_t count = o->c->tensor_count;

	k->next = malloc((count + 1) * sizeof(*k->next));
	k->by_module = malloc((count + 1) * sizeof(*k->by_module));
	if (!k->next || !k->by_module)
		return -ENOMEM;
	k->next[count] = count;
	for (size_t i = count; i-- > 0;) {
		k->next[i] = o->taken[i] ? i : k->next[i + 1];
		if (o->taken[i])
			k->by_module[k->count++] = &o->c->tensors[i];
	}
	qsort(k->by_module, k->count, sizeof(*k->by_module), by_taken_module);
	return 0;
}

/* True if a family has taken a tensor of the module that `t` is named in, or of one inside it. */
static bool is_taken_below(const struct takings *k, const struct st_tensor *t)
{
	const struct checkpoint *c = k->o->c;
	const size_t len = taken_module_length(t->name) + 1, first = k->next[checkpoint_below(c, t->name, len)];

	return first < c->tensor_count && strncmp(c->tensors[first].name, t->name, len) == 0;
}

static bool is_activation(const struct takings *k, const struct st_tensor *t)
{
	const char *dot = strrchr(t->name, '.');

	for (size_t i = 0; dot && i < sizeof(activations) / sizeof(*activations); i++)
		if (strcmp(dot + 1, activations[i].last) == 0)
			return activations[i].cache ? is_taken_below(k, t)
			                            : bsearch(&t, k->by_module, k->count, sizeof(*k->by_module),
							  by_taken_module) != NULL;
	return false;
}

int activations_hide(struct opening *o)
{
	struct takings k = {.o = o};
	int rc = o->hide_activations ? list_takings(&k) : 0;

	for (size_t i = 0; rc == 0 && o->hide_activations && i < o->c->tensor_count; i++)
		if (!o->taken[i] && is_activation(&k, &o->c->tensors[i]))
			opening_take(o, &o->c->tensors[i]);
	free(k.next);
	free(k.by_module);
	return rc ? err_memory(o->err) : 0;
}
