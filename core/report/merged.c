/* SPDX-License-Identifier: MIT */

/* --check of tensors with merged adapters: computes them, because only the sums show their values. */

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "base/err.h"
#include "report/report.h"
#include "tensor/adapted.h"
#include "tensor/dense.h"

#define BUFFER_FLOATS ((size_t)256 << 10)

/* The smallest number that fp16 rounds to inf. */
#define HALF_OVERFLOW 65520.0f

static const struct finding merged = {.key = "Merged_values"};
static const struct finding infinite = {
    .key = "Merged_overflow", .note = "merged values that become inf in the fp16 view", .remark = true};

struct examining {
	struct dense dense;
	float *buffer;
	struct findings *out;
};

static int examine_rows(const struct examining *x, const struct tensor *t)
{
	const struct generator *g;
	const uint64_t columns = t->shape[t->ndim - 1];
	const uint64_t step = columns < BUFFER_FLOATS ? BUFFER_FLOATS / columns : 1;
	uint64_t count = 0;
	int rc = dense_rows(&x->dense, t, &g);

	for (uint64_t row = 0; rc == 0 && row < g->rows; row += step) {
		const uint64_t rows = g->rows - row < step ? g->rows - row : step;

		rc = generator_fill(g, x->buffer, row, rows);
		for (uint64_t i = 0; rc == 0 && i < rows * columns; i++)
			count += isfinite(x->buffer[i]) && fabsf(x->buffer[i]) >= HALF_OVERFLOW;
	}
	findings_add(x->out, &merged, tensor_elements(t));
	findings_add(x->out, &infinite, count);
	return rc;
}

static int examine_tensor(const struct examining *x, const struct tensor *t)
{
	size_t count;
	const struct tensor *const *parts = tensor_parts(&t, &count);
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < count; i++)
		if (parts[i]->origin == TENSOR_ADAPTED)
			rc = examine_rows(x, parts[i]);
	return rc;
}

int report_examine_merged(const struct plan *p, struct findings *out, struct gptqfs_error *err)
{
	struct examining x = {{p->c, p->kernels, DTYPE_F32}, NULL, out};
	int rc = 0;

	if (!p->lora)
		return 0;
	x.buffer = malloc(ADAPTED_COLUMNS_MAX * sizeof(*x.buffer));
	if (!x.buffer)
		return err_memory(err);
	findings_add(out, &merged, 0);
	findings_add(out, &infinite, 0);
	for (size_t i = 0; rc == 0 && i < p->tensors->count; i++) {
		rc = examine_tensor(&x, &p->tensors->list[i]);
		if (rc)
			rc = err_set(err, rc, "tensor %.200s cannot be computed", p->tensors->list[i].name);
	}
	free(x.buffer);
	return rc;
}
