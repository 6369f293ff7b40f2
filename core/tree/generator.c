/* SPDX-License-Identifier: MIT */
#include "tree/generator.h"

#include <errno.h>
#include <string.h>

#include "file/guard.h"
#include "kernel/accel.h"

/* Rows that could only be cut into longer parts are computed whole. */
#define STEP_MAX 4096

struct job {
	const struct generator *g;
	void *dst;
	uint64_t row0, nrows;
};

/* ---- dequantized rows ---- */

static void run_dequant(void *ctx)
{
	const struct job *job = ctx;

	job->g->kernel.dequant(job->dst, &job->g->tensor->module->q, (uint32_t)job->row0, (uint32_t)job->nrows);
}

/* Checked before, so that nothing is computed from a changed file; and after, so that nothing computed is used. */
static int check_files(const struct module *m)
{
	int rc = 0;

	for (int i = 0; rc == 0 && i < TENSOR_FILES && m->files[i]; i++)
		rc = source_file_check(m->files[i]);
	return rc;
}

/* The file whose map holds that address. */
static const struct source_file *file_at(const struct module *m, const unsigned char *at)
{
	for (int i = 0; i < TENSOR_FILES && m->files[i]; i++)
		if ((uintptr_t)at - (uintptr_t)m->files[i]->map < (uintptr_t)m->files[i]->stat.st_size)
			return m->files[i];
	return NULL;
}

void generator_needs(const struct module *m, const unsigned char *at, uint64_t bytes, struct spans *out)
{
	const struct source_file *f = file_at(m, at);

	if (f)
		spans_add(out, f, at, bytes);
}

/* The first row touches every page of qweight, so all of it. */
static void needs_of_module(const struct generator *g, uint64_t row0, uint64_t nrows, struct spans *out)
{
	const struct module *m = g->tensor->module;
	const struct qtensor *q = &m->q;

	(void)row0;
	(void)nrows;
	generator_needs(m, q->scales, (uint64_t)q->groups * q->out_features * dtype_bytes(q->scale_dtype), out);
	if (q->qzeros && m->qzeros)
		generator_needs(m, q->qzeros, m->qzeros->bytes, out);
	generator_needs(m, q->qweight, m->qweight_bytes, out);
}

/* ---- the same by an accelerator ---- */

static void run_copy(void *ctx)
{
	accel_copy_run(ctx);
}

/* Pieces of the packed matrix. Bytes of a changed file are never handed out, because a device may keep them. */
static int copy_packed(void *ctx, const struct accel_copy *what)
{
	struct accel_copy copy = *what;

	return generator_guard(ctx, run_copy, &copy);
}

/* 0, -EIO, or 1 if it is left to the CPU. */
static int accelerate(const struct job *job)
{
	const struct generator *g = job->g;
	const struct accel_job asked = {ACCEL_GPTQ, &g->tensor->module->q, g->out, (uint32_t)job->row0,
	    (uint32_t)job->nrows, g->row_bytes, job->dst, true, copy_packed, (void *)g};

	return accel_dequant(g->accel, &asked);
}

/* ---- rows, whoever decodes them ---- */

static int check_modules(const struct generator *g)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < g->module_count; i++)
		rc = check_files(g->modules[i]);
	return rc;
}

int generator_guard(const struct generator *g, void (*fn)(void *ctx), void *ctx)
{
	int rc = check_modules(g), failed;

	if (rc)
		return rc;
	failed = source_guard(fn, ctx);
	/* After a failure most likely the file shrank, and the check says so; else the disk failed. */
	rc = check_modules(g);
	return rc || !failed ? rc : source_file_fail(g->modules[0]->files[0], "cannot be read (I/O error)");
}

static int fill_dequant(const struct generator *g, void *dst, uint64_t row0, uint64_t nrows)
{
	struct job job = {g, dst, row0, nrows};
	int rc = g->accel ? check_modules(g) : 1;

	if (g->accel && rc == 0) {
		rc = accelerate(&job);
		if (rc == 0)
			rc = check_modules(g);
	}
	return rc <= 0 ? rc : generator_guard(g, run_dequant, &job);
}

struct part_job {
	const struct generator *g;
	void *dst;
	struct qtensor q;
	uint32_t row;
};

static void run_part(void *ctx)
{
	const struct part_job *job = ctx;

	job->g->kernel.dequant(job->dst, &job->q, job->row, 1);
}

/* Never by an accelerator: the way there and back is longer than this. */
static int fill_part(const struct generator *g, void *dst, const struct row_part *part)
{
	const uint32_t width = (uint32_t)dtype_bytes(g->out);
	struct part_job job = {g, dst,
	    qtensor_inputs(&g->tensor->module->q, (uint32_t)(part->from / width), (uint32_t)(part->length / width)),
	    (uint32_t)part->row};

	return generator_guard(g, run_part, &job);
}

static uint32_t tile_rows(uint64_t row_bytes)
{
	uint32_t rows = 16;

	while (rows > 1 && rows * row_bytes > GENERATOR_TILE_MAX)
		rows /= 2;
	return rows;
}

struct generator generator_dequant(const struct tensor *t, const struct kernels *kernels, enum dtype out)
{
	const uint64_t row_bytes = t->shape[1] * dtype_bytes(out);
	const uint64_t cut = qtensor_step(&t->module->q) * dtype_bytes(out);
	const bool as_packed = t->module->keep_orientation;
	const uint32_t step = as_packed || cut > STEP_MAX ? 0 : (uint32_t)cut;

	return (struct generator){
	    .rows = t->shape[0],
	    .row_bytes = row_bytes,
	    .tile_rows = tile_rows(row_bytes),
	    .fill = fill_dequant,
	    .fill_part = step ? fill_part : NULL,
	    .step = step,
	    .needs = needs_of_module,
	    .fetched = &t->module->fetched,
	    .tensor = t,
	    .modules = &t->module,
	    .module_count = 1,
	    .out = out,
	    .accel = as_packed ? NULL : kernels->accel,
	    .kernel.dequant =
		as_packed ? gptq_inputs(&kernels->gptq, &t->module->q, out) : gptq_rows(&kernels->gptq, &t->module->q, out),
	};
}

/* ---- cast elements ---- */

static void run_cast(void *ctx)
{
	const struct job *job = ctx;
	const struct st_tensor *s = job->g->tensor->stored;

	job->g->kernel.cast(job->dst, job->g->file->map + s->begin + job->row0 * dtype_bytes(s->dtype), job->nrows);
}

static int fill_cast(const struct generator *g, void *dst, uint64_t row0, uint64_t nrows)
{
	struct job job = {g, dst, row0, nrows};
	int rc = source_file_check(g->file);

	if (rc == 0 && source_guard(run_cast, &job)) {
		rc = source_file_check(g->file);
		return rc ? rc : source_file_fail(g->file, "cannot be read (I/O error)");
	}
	return rc ? rc : source_file_check(g->file);
}

static void needs_of_cast(const struct generator *g, uint64_t row0, uint64_t nrows, struct spans *out)
{
	const struct st_tensor *s = g->tensor->stored;
	const size_t width = dtype_bytes(s->dtype);

	spans_add(out, g->file, g->file->map + s->begin + row0 * width, nrows * width);
}

struct generator generator_cast(const struct tensor *t, struct source_file *f, const struct kernels *kernels,
    enum dtype out)
{
	return (struct generator){
	    .rows = t->stored->bytes / dtype_bytes(t->stored->dtype),
	    .row_bytes = dtype_bytes(out),
	    .tile_rows = 65536 / (uint32_t)dtype_bytes(out),
	    .fill = fill_cast,
	    .needs = needs_of_cast,
	    .tensor = t,
	    .file = f,
	    .out = out,
	    .kernel.cast = kernels->cast[t->stored->dtype][out],
	};
}

/* ---- texts ---- */

static int fill_text(const struct generator *g, void *dst, uint64_t row0, uint64_t nrows)
{
	struct text text = {0};
	int rc = 0;

	(void)row0;
	(void)nrows;
	g->kernel.write(g->subject, &text);
	if (text.failed)
		rc = -ENOMEM;
	else if (text.len != g->row_bytes)
		rc = -EIO;
	else
		memcpy(dst, text.data, text.len);
	text_free(&text);
	return rc;
}

struct generator generator_text(text_fn *write, const void *subject, uint64_t bytes)
{
	return (struct generator){
	    .rows = 1,
	    .row_bytes = bytes,
	    .tile_rows = 1,
	    .fill = fill_text,
	    .subject = subject,
	    .kernel.write = write,
	};
}
