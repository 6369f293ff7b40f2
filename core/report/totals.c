/* SPDX-License-Identifier: MIT */
#include "report/totals.h"

#include <stdlib.h>

#include "tensor/dense.h"

/* Scales are F16 even in bf16 models, so only what was never quantized tells. */
static enum dtype native_dtype(const struct source *s)
{
	uint64_t bytes[DTYPE_CASTS] = {0};
	enum dtype best = DTYPE_F16;

	for (size_t i = 0; i < s->tensor_count; i++)
		if (s->tensors[i].stored && dtype_is_cast(s->tensors[i].stored->dtype))
			bytes[s->tensors[i].stored->dtype] += s->tensors[i].stored->bytes;
	bytes[DTYPE_F32] += bytes[DTYPE_F64];
	for (enum dtype d = 0; d < DTYPE_VIEWS; d++)
		if (bytes[d] > bytes[best])
			best = d;
	return best;
}

static void count(struct tally *tally, size_t *used, int64_t value)
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

int64_t totals_group_size(const struct checkpoint *c, const struct qtensor *q)
{
	return q->groups == 1 && q->group_size != c->quant.group_size ? -1 : (int64_t)q->group_size;
}

/* Joined tensors have theirs in their parts. */
static uint64_t stored_bytes(const struct tensor *t)
{
	uint64_t bytes = t->stored ? t->stored->bytes : 0;

	for (size_t i = 0; i < t->part_count; i++)
		bytes += stored_bytes(t->parts[i]);
	return bytes;
}

void totals_of(const struct checkpoint *c, const struct source *s, struct totals *out)
{
	*out = (struct totals){.native = native_dtype(s)};
	for (size_t i = 0; i < s->module_count; i++) {
		const struct module *m = &s->modules[i];

		count(out->bits, &out->bits_count, m->q.bits);
		count(out->group_sizes, &out->group_sizes_count, totals_group_size(c, &m->q));
		out->act_order += m->q.g_idx != NULL;
		out->symmetric += m->symmetric;
		out->repaired += m->repair != NULL;
		out->source_bytes += m->packed_bytes;
	}
	for (size_t i = 0; i < s->tensor_count; i++) {
		const struct tensor *t = &s->tensors[i];
		const uint64_t elements = tensor_elements(t);

		out->parameters += elements;
		out->source_bytes += stored_bytes(t);
		for (enum dtype d = 0; d < DTYPE_VIEWS; d++)
			out->dense_bytes[d] +=
			    tensor_is_float(t) ? elements * dtype_bytes(dense_dtype(t, d)) : t->stored->bytes;
	}
	qsort(out->bits, out->bits_count, sizeof(*out->bits), by_count);
	qsort(out->group_sizes, out->group_sizes_count, sizeof(*out->group_sizes), by_count);
}
