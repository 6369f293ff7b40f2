/* SPDX-License-Identifier: MIT */

/* Rows of a dequantized GPTQ matrix, by a kernel or an accelerator. */

#include <errno.h>

#include "kernel/accel.h"
#include "kernel/kernels.h"
#include "quant/gptq/gptq.h"

struct gptq_rows {
	struct generator g; /* first */
	const struct gptq_module *module;
	enum dtype out;
	gptq_fn *dequant;
	struct accel *accel; /* or NULL */
};

struct gptq_job {
	const struct gptq_rows *rows;
	void *dst;
	const struct rect *r;
	struct qtensor q; /* restricted to the rectangle's inputs */
};

static void run_dequant(void *ctx)
{
	const struct gptq_job *job = ctx;

	job->rows->dequant(job->dst, &job->q, (uint32_t)job->r->row0, (uint32_t)job->r->nrows);
}

/* ---- by an accelerator ---- */

static void run_copy(void *ctx)
{
	accel_copy_run(ctx);
}

/* Copies pieces of the packed matrix. Bytes of a changed file are never handed out, because a device may keep them. */
static int copy_packed(void *ctx, const struct accel_copy *what)
{
	const struct gptq_rows *rows = ctx;
	struct accel_copy copy = *what;

	return inputs_guard(&rows->g.inputs, run_copy, &copy);
}

/* Returns 0, -EIO, or 1 to leave it to the CPU. */
static int accelerate(const struct gptq_job *job)
{
	const struct gptq_rows *rows = job->rows;
	const struct accel_job asked = {ACCEL_GPTQ, &rows->module->q, rows->out, (uint32_t)job->r->row0,
	    (uint32_t)job->r->nrows, rows->g.row_bytes, job->dst, true, copy_packed, (void *)rows};
	int rc = inputs_check(&rows->g.inputs);

	if (rc == 0)
		rc = accel_dequant(rows->accel, &asked);
	return rc ? rc : inputs_check(&rows->g.inputs);
}

/* ---- the generator ---- */

static int fill_rows(const struct generator *g, void *dst, const struct rect *r)
{
	const struct gptq_rows *rows = (const struct gptq_rows *)g;
	const uint32_t width = (uint32_t)dtype_bytes(rows->out);
	struct gptq_job job = {rows, dst, r, rows->module->q};
	int rc = 1;

	/* Parts of rows never go to an accelerator: the round trip would take longer. */
	if (r->bytes != g->row_bytes)
		job.q = qtensor_inputs(&rows->module->q, (uint32_t)(r->from / width), (uint32_t)(r->bytes / width));
	else if (rows->accel)
		rc = accelerate(&job);
	return rc <= 0 ? rc : inputs_guard(&g->inputs, run_dequant, &job);
}

/* Any row touches every page of qweight, so all of it is needed. */
static void rows_need(const struct generator *g, const struct rect *r, struct spans *out)
{
	const struct gptq_module *m = ((const struct gptq_rows *)g)->module;

	(void)r;
	inputs_add_span(&g->inputs, m->q.scales, m->e.part[GPTQ_SCALES]->bytes, out);
	if (m->q.qzeros && !gptq_copied_zeros(m))
		inputs_add_span(&g->inputs, m->q.qzeros, m->e.part[GPTQ_QZEROS]->bytes, out);
	inputs_add_span(&g->inputs, m->q.qweight, m->e.part[GPTQ_QWEIGHT]->bytes, out);
}

int gptq_dense_rows(struct encoded *e, const struct kernels *k, enum dtype out, struct arena *arena,
    const struct generator **g)
{
	static const struct generator_ops ops = {fill_rows, rows_need};
	const struct gptq_module *m = gptq_module_of(e);
	const uint64_t width = dtype_bytes(out), row_bytes = e->shape[1] * width;
	struct gptq_rows *rows = arena_alloc(arena, 1, sizeof(*rows));

	if (!rows)
		return -ENOMEM;
	*rows = (struct gptq_rows){
	    .module = m,
	    .out = out,
	    .dequant = e->transposed ? gptq_inputs(&k->gptq, &m->q, out) : gptq_rows(&k->gptq, &m->q, out),
	    .accel = e->transposed ? NULL : k->accel,
	};
	rows->g = (struct generator){
	    .ops = &ops,
	    .rows = e->shape[0],
	    .row_bytes = row_bytes,
	    .tile_rows = generator_tile_rows(row_bytes),
	    .step = e->transposed ? 0 : generator_step(qtensor_step(&m->q) * width),
	    .inputs = encoded_inputs(e),
	};
	*g = &rows->g;
	return 0;
}
