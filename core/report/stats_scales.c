/* SPDX-License-Identifier: MIT */

/* The scales of a module, as stored. */

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/element.h"
#include "report/stats.h"

struct scales {
	const unsigned char *data;
	uint64_t total, finite, zero, not_finite;
	enum dtype dtype;
	float *values; /* the finite ones */
};

static void read_scales(void *ctx)
{
	struct scales *s = ctx;

	for (uint64_t i = 0; i < s->total; i++) {
		const float value = element_load(s->data, i, s->dtype);

		s->zero += value == 0;
		if (isfinite(value))
			s->values[s->finite++] = value;
		else
			s->not_finite++;
	}
}

static int float_compare(const void *a, const void *b)
{
	const float x = *(const float *)a, y = *(const float *)b;

	return (x > y) - (x < y);
}

/* Moves the k-th smallest value to its place, lesser ones before it. */
static void select_value(float *v, size_t n, size_t k)
{
	size_t low = 0, high = n;

	while (high - low > 64) {
		const float pivot = v[low + (high - low) / 2];
		size_t less = low, at = low, more = high;

		while (at < more) {
			const float x = v[at];

			if (x < pivot) {
				v[at++] = v[less];
				v[less++] = x;
			} else if (x > pivot) {
				v[at] = v[--more];
				v[more] = x;
			} else {
				at++;
			}
		}
		if (k >= less && k < more)
			return;
		if (k < less)
			high = less;
		else
			low = more;
	}
	qsort(v + low, high - low, sizeof(*v), float_compare);
}

static float max_of(const float *v, size_t n)
{
	float max = v[0];

	for (size_t i = 1; i < n; i++)
		max = v[i] > max ? v[i] : max;
	return max;
}

static void tell_scales(struct scales *s, struct gptqfs_module_stats *out)
{
	const size_t n = s->finite, middle = n / 2;
	float *v = s->values;

	out->has_scales = true;
	out->scales_zero = s->zero;
	out->scales_not_finite = s->not_finite;
	if (!n)
		return;
	select_value(v, n, middle);
	out->scale_median = v[middle];
	if (n % 2 == 0)
		out->scale_median = ((double)max_of(v, middle) + v[middle]) / 2;
	out->scale_max = max_of(v + middle, n - middle);
	out->scale_min = v[middle];
	for (size_t i = 0; i < middle; i++)
		out->scale_min = v[i] < out->scale_min ? v[i] : out->scale_min;
}

/* Returns the stored tensor of scales, or NULL. */
static const struct st_tensor *scales_of(const struct encoded *e)
{
	static const char *const words[] = {"scale", "absmax", "SCB"};

	for (size_t i = 0; i < ENCODED_PARTS && e->encoding->suffixes[i]; i++)
		for (size_t w = 0; w < sizeof(words) / sizeof(*words); w++)
			if (e->part[i] && strstr(e->encoding->suffixes[i], words[w]))
				return e->part[i];
	return NULL;
}

static bool is_scale_dtype(enum dtype dtype)
{
	return dtype <= DTYPE_F32 || dtype == DTYPE_F8_E4M3 || dtype == DTYPE_F8_E5M2 || dtype == DTYPE_F8_E8M0;
}

/* A file may call an E8M0 a U8; the encoding knows better. Those that are quantized themselves are left out. */
static enum dtype scale_dtype(const struct encoded *e, const struct st_tensor *t)
{
	struct facts facts = {0};
	const struct fact *word;
	enum dtype told;

	e->encoding->describe(e, &facts);
	word = facts_find(&facts, "scale_dtype");
	if (!word || word->kind != FACT_WORD || !word->word)
		return t->dtype;
	told = dtype_parse(word->word, strlen(word->word));
	return told != DTYPE_COUNT && dtype_bits(told) == dtype_bits(t->dtype) ? told : t->dtype;
}

int stats_scales(const struct checkpoint *c, struct encoded *e, struct gptqfs_module_stats *out)
{
	const struct inputs in = encoded_inputs(e);
	const struct st_tensor *t = scales_of(e);
	struct scales scales = {0};
	int rc;

	if (t)
		scales.dtype = scale_dtype(e, t);
	if (!t || !is_scale_dtype(scales.dtype) || !t->bytes)
		return 0;
	scales.data = checkpoint_data(c, t);
	scales.total = t->bytes / element_bytes(scales.dtype);
	scales.values = malloc(scales.total * sizeof(*scales.values));
	if (!scales.values)
		return -ENOMEM;
	rc = inputs_guard(&in, read_scales, &scales);
	if (rc == 0)
		tell_scales(&scales, out);
	free(scales.values);
	return rc;
}
