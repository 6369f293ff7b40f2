/* SPDX-License-Identifier: MIT */
#include "report/totals.h"

#include <stdlib.h>
#include <string.h>

#include "tensor/dense.h"
#include "tensor/encoding.h"

/* Scales are F16 even in bf16 models, and adapters mostly F32, so only unquantized tensors of the base count. */
static enum dtype native_dtype(const struct tensors *ts)
{
	uint64_t bytes[DTYPE_CASTS] = {0};
	enum dtype best = DTYPE_F16;

	if (ts->base)
		ts = ts->base;

	for (size_t i = 0; i < ts->count; i++) {
		const enum dtype dtype = tensor_stored_dtype(&ts->list[i]);

		if (dtype != DTYPE_COUNT && dtype_is_cast(dtype))
			bytes[dtype] += tensor_stored_bytes(&ts->list[i]);
	}
	bytes[DTYPE_F32] += bytes[DTYPE_F64];
	for (enum dtype d = 0; d < DTYPE_VIEWS; d++)
		if (bytes[d] > bytes[best])
			best = d;
	return best;
}

static void count_value(struct tally *tally, size_t *used, int64_t value)
{
	size_t i = 0;

	while (i < *used && tally[i].value != value)
		i++;
	if (i == TALLY_MAX)
		i--;
	else if (i == *used)
		tally[(*used)++] = (struct tally){.value = value};
	tally[i].count++;
}

static int by_count(const void *a, const void *b)
{
	const struct tally *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return x->value < y->value ? -1 : 1;
}

static uint64_t number_of(const struct facts *facts, const char *key)
{
	const struct fact *fact = facts_find(facts, key);

	return fact && fact->kind == FACT_NUMBER ? fact->number : 0;
}

static bool truth_of(const struct facts *facts, const char *key)
{
	const struct fact *fact = facts_find(facts, key);

	return fact && fact->kind == FACT_TRUTH && fact->truth;
}

/* One group per column is -1, as in configurations. */
static int64_t totals_group_size_of(const struct tensors *ts, const struct facts *facts)
{
	const int64_t size = (int64_t)number_of(facts, "group_size");

	return number_of(facts, "groups") == 1 && size != ts->labels.group_size ? -1 : size;
}

static void add_format(struct totals *out, const char *name)
{
	size_t i = 0;

	while (i < out->formats_count && strcmp(out->formats[i], name) != 0)
		i++;
	if (i == out->formats_count && i < TALLY_MAX)
		out->formats[out->formats_count++] = name;
}

static void totals_add_module(const struct tensors *ts, const struct encoded *e, struct totals *out)
{
	struct facts facts = {0};
	const struct fact *repair;

	e->encoding->describe(e, &facts);
	repair = facts_find(&facts, "repair");
	add_format(out, e->encoding->name);
	count_value(out->bits, &out->bits_count, (int64_t)number_of(&facts, "bits"));
	if (facts_find(&facts, "group_size"))
		count_value(out->group_sizes, &out->group_sizes_count, totals_group_size_of(ts, &facts));
	out->act_order += truth_of(&facts, "act_order");
	out->symmetric += truth_of(&facts, "symmetric");
	out->repaired += repair && repair->word;
}

void totals_of(const struct tensors *ts, struct totals *out)
{
	*out = (struct totals){.native = native_dtype(ts)};
	for (size_t i = 0; i < ts->encoded_count; i++)
		totals_add_module(ts, ts->encoded[i], out);
	for (size_t i = 0; i < ts->count; i++) {
		const struct tensor *t = &ts->list[i];
		const uint64_t elements = tensor_elements(t), stored = tensor_stored_bytes(t);

		out->parameters += elements;
		out->source_bytes += stored;
		for (enum dtype d = 0; d < DTYPE_VIEWS; d++)
			out->dense_bytes[d] += tensor_is_float(t) ? elements * dtype_bytes(dense_dtype(t, d)) : stored;
	}
	qsort(out->bits, out->bits_count, sizeof(*out->bits), by_count);
	qsort(out->group_sizes, out->group_sizes_count, sizeof(*out->group_sizes), by_count);
}
