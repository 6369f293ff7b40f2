/* SPDX-License-Identifier: MIT */
#include "quant/scaled.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 1024
#define CUTS_MAX 16      /* places where a name may be cut, from either end */
#define SIBLINGS_MAX 256 /* most tensors examined */

struct scaled_search {
	const struct checkpoint *c;
	const bool *taken;
	const struct st_tensor **scales, **weights; /* sorted by name; weights: those of integers */
	size_t scale_count, weight_count;
};

static bool has_word(const char *name, const char *const *words)
{
	for (; *words; words++)
		if (strcasestr(name, *words))
			return true;
	return false;
}

static bool is_taken(const struct scaled_search *s, const struct st_tensor *t)
{
	return s->taken[t - s->c->tensors];
}

/* True for types that exist only for quantized weights. */
static bool is_tiny_float(const struct st_tensor *t)
{
	switch (t->dtype) {
	case DTYPE_F8_E4M3:
	case DTYPE_F8_E5M2:
	case DTYPE_F8_E4M3FNUZ:
	case DTYPE_F8_E5M2FNUZ:
	case DTYPE_F6_E2M3:
	case DTYPE_F6_E3M2:
	case DTYPE_F4:
		return true;
	default:
		return false;
	}
}

/* Integers are also used for masks, tables and counters, so only matrices named weight count. */
static bool scaled_is_codes(const struct st_tensor *t)
{
	static const char *const words[] = {"weight", "quantized", "_data", "qdata", NULL};

	switch (t->dtype) {
	case DTYPE_I8:
	case DTYPE_U8:
	case DTYPE_I16:
	case DTYPE_I32:
	case DTYPE_U32:
		return t->ndim >= 2 && has_word(t->name, words);
	default:
		return false;
	}
}

static bool scaled_is_scale(const struct st_tensor *t)
{
	static const char *const words[] = {
	    "scale", "scaling", "absmax", "amax", "dequant", "qparam", "step_size", NULL};

	return (dtype_is_cast(t->dtype) || t->dtype == DTYPE_F8_E8M0 || t->dtype == DTYPE_F8_E4M3 ||
		   t->dtype == DTYPE_U8) &&
	       has_word(t->name, words);
}

static int list_tensors(struct scaled_search *s)
{
	s->scales = malloc((s->c->tensor_count + 1) * sizeof(*s->scales));
	s->weights = malloc((s->c->tensor_count + 1) * sizeof(*s->weights));
	if (!s->scales || !s->weights)
		return -ENOMEM;
	for (size_t i = 0; i < s->c->tensor_count; i++) {
		const struct st_tensor *t = &s->c->tensors[i];

		if (!s->taken[i] && scaled_is_scale(t))
			s->scales[s->scale_count++] = t;
		if (!s->taken[i] && scaled_is_codes(t))
			s->weights[s->weight_count++] = t;
	}
	return 0;
}

/* Returns a scale whose name begins with these bytes of `weight`, other than the weight itself. */
static const struct st_tensor *scale_below(const struct scaled_search *s, const struct st_tensor *weight, size_t len)
{
	size_t low = 0, high = s->scale_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (strncmp(s->scales[middle]->name, weight->name, len) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (; low < s->scale_count && strncmp(s->scales[low]->name, weight->name, len) == 0; low++)
		if (s->scales[low] != weight)
			return s->scales[low];
	return NULL;
}

/* Returns a float that sorts after the weight, is its sibling ("X.weight_s", "X.weight.s") and not a bias. */
static const struct st_tensor *sibling(const struct scaled_search *s, const struct st_tensor *weight)
{
	const struct st_tensor *end = s->c->tensors + s->c->tensor_count;
	const size_t len = strlen(weight->name);

	if (end - weight > SIBLINGS_MAX)
		end = weight + SIBLINGS_MAX;
	for (const struct st_tensor *t = weight + 1; t < end && strncmp(t->name, weight->name, len) == 0; t++)
		if (!is_taken(s, t) && dtype_is_cast(t->dtype) && strchr("._", t->name[len]))
			return t;
	return NULL;
}

/* Returns the length of a name before its last component, including the dot; then before the last but one. */
static size_t parent_of(const char *name, size_t len)
{
	if (len)
		len--;
	while (len && name[len - 1] != '.' && name[len - 1] != '/')
		len--;
	return len;
}

/* Returns the scale of a weight by name, in the same module or the enclosing one. */
static const struct st_tensor *scale_near(const struct scaled_search *s, const struct st_tensor *weight)
{
	const size_t module = parent_of(weight->name, strlen(weight->name)), outer = parent_of(weight->name, module);
	const struct st_tensor *found = sibling(s, weight);

	if (!found && module)
		found = scale_below(s, weight, module);
	return found || !outer ? found : scale_below(s, weight, outer);
}

/* Cuts of a name: offsets after (front) or before (back) separators. */
static size_t list_cuts(const char *name, bool back, size_t cuts[CUTS_MAX])
{
	const size_t len = strlen(name);
	size_t count = 0;

	cuts[count++] = back ? len : 0;
	for (size_t i = 1; i + 1 < len && count < CUTS_MAX; i++) {
		const size_t at = back ? len - i - 1 : i;

		if (strchr("._/:-", name[at]))
			cuts[count++] = back ? at : at + 1;
	}
	return count;
}

static size_t common_length(const char *a, const char *b)
{
	size_t len = 0;

	while (a[len] && a[len] == b[len])
		len++;
	return len;
}

/* Returns the first weight whose name is not before `name`. */
static size_t first_weight(const struct scaled_search *s, const char *name)
{
	size_t low = 0, high = s->weight_count;

	while (low < high) {
		const size_t middle = low + (high - low) / 2;

		if (strcmp(s->weights[middle]->name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Returns how many bytes of a name some weight's begins with: one of its neighbours has the most. */
static size_t longest_common(const struct scaled_search *s, const char *name)
{
	const size_t at = first_weight(s, name);
	const size_t after = at < s->weight_count ? common_length(name, s->weights[at]->name) : 0;
	const size_t before = at ? common_length(name, s->weights[at - 1]->name) : 0;

	return before > after ? before : after;
}

/* Returns the weight, other than `scale`, that these bytes name, or whose module they do; NULL if there is none. */
static const struct st_tensor *weight_named(const struct scaled_search *s, const char *bytes, size_t len,
    const struct st_tensor *scale)
{
	static const char *const suffixes[] = {"", ".weight"};
	char name[NAME_BYTES];

	for (size_t i = 0; i < 2; i++) {
		size_t at;

		if (snprintf(name, sizeof(name), "%.*s%s", (int)len, bytes, suffixes[i]) >= (int)sizeof(name))
			return NULL;
		at = first_weight(s, name);
		if (at < s->weight_count && strcmp(s->weights[at]->name, name) == 0 && s->weights[at] != scale)
			return s->weights[at];
	}
	return NULL;
}

/* Finds a weight whose name, or its module's, is inside the name of a scale: "my_scales.X.weight", "X_scale.0". */
static const struct st_tensor *weight_within(const struct scaled_search *s, const struct st_tensor *scale)
{
	size_t from[CUTS_MAX], to[CUTS_MAX];
	const size_t starts = list_cuts(scale->name, false, from), ends = list_cuts(scale->name, true, to);

	for (size_t i = 0; i < starts; i++) {
		const char *start = scale->name + from[i];
		const size_t most = from[i] + longest_common(s, start);

		for (size_t k = 0; k < ends; k++) {
			const struct st_tensor *t =
			    to[k] > from[i] && to[k] <= most ? weight_named(s, start, to[k] - from[i], scale) : NULL;

			if (t)
				return t;
		}
	}
	return NULL;
}

static int search(const struct scaled_search *s, struct scaled *out)
{
	for (size_t i = 0; i < s->c->tensor_count; i++) {
		const struct st_tensor *t = &s->c->tensors[i];

		if (s->taken[i] || !(is_tiny_float(t) || scaled_is_codes(t)))
			continue;
		*out = (struct scaled){t, scale_near(s, t)};
		if (!out->scale && is_tiny_float(t) && s->scale_count)
			out->scale = s->scales[s->scale_count > 1 && s->scales[0] == t];
		if (out->scale && out->scale != t)
			return 1;
	}
	for (size_t i = 0; s->weight_count && i < s->scale_count; i++) {
		*out = (struct scaled){weight_within(s, s->scales[i]), s->scales[i]};
		if (out->weight)
			return 1;
	}
	return 0;
}

int scaled_find(const struct checkpoint *c, const bool *taken, struct scaled *out)
{
	struct scaled_search s = {.c = c, .taken = taken};
	int rc = list_tensors(&s);

	if (rc == 0)
		rc = search(&s, out);
	free(s.scales);
	free(s.weights);
	return rc;
}
