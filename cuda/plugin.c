/* SPDX-License-Identifier: MIT */

/*
 * gptqfs-cuda.so: decodes rows on a GPU. A call sends packed columns over the bus, unless the device keeps them,
 * decodes them by a kernel, and gets the rows back through pinned memory.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "resident.h"

struct cuda {
	struct device device;
	struct slots slots;
	struct residents residents;
};

static void cuda_close(void *state)
{
	struct cuda *c = state;
	struct accel_text ignored;

	if (c->device.context && device_enter(&c->device, &ignored) == 0) {
		residents_free(&c->residents);
		slots_free(&c->slots);
	}
	device_close(&c->device);
	free(c);
}

static int open_all(struct cuda *c, uint64_t memory, struct accel_text *text)
{
	const unsigned slots = memory / SLOT_DEVICE_BYTES < SLOTS ? (unsigned)(memory / SLOT_DEVICE_BYTES) : SLOTS;
	int rc;

	if (slots == 0) {
		snprintf(text->text, sizeof(text->text), "cuda_mem=%llu is too small: it takes at least %zum",
		    (unsigned long long)memory, SLOT_DEVICE_BYTES >> 20);
		return -ENOMEM;
	}
	rc = device_open(&c->device, text);
	if (rc)
		return rc;
	slots_init(&c->slots, &c->device, slots);
	residents_init(&c->residents, &c->device, memory - slots * SLOT_DEVICE_BYTES);
	snprintf(text->text, sizeof(text->text), "cuda (%s, driver for CUDA %d.%d)", c->device.name,
	    c->device.version / 1000, c->device.version % 1000 / 10);
	return 0;
}

static int cuda_open(const struct accel_config *config, void **state, struct accel_text *text)
{
	struct cuda *c = calloc(1, sizeof(*c));
	int rc = -ENOMEM;

	if (c)
		rc = open_all(c, config->memory, text);
	else
		snprintf(text->text, sizeof(text->text), "out of memory");
	if (rc && c)
		cuda_close(c);
	*state = rc ? NULL : c;
	return rc;
}

/* ---- one call ---- */

struct call {
	struct cuda *c;
	const struct accel_job *job;
	struct slot *slot;
	const struct resident *resident; /* or NULL */
	const struct qtensor *q;
	driver_function kernel;
	size_t stride_bytes; /* bytes of a row as written by the kernel: whole pieces of 8 elements */
	struct accel_text *why;
};

/* Plans the columns of rows [row, row + nrows) for the slot's memory. Returns false if they do not fit. */
static bool plan_columns(struct columns *p, const struct call *call, uint32_t row, uint32_t nrows)
{
	const uint32_t first = row / COLUMNS_ALIGN * COLUMNS_ALIGN;

	return columns_plan(p, call->q, first, row + nrows - first) && p->bytes <= SLOT_STAGING;
}

/* Returns how many rows from `row` can be decoded at once; 0 if not even one. */
static uint32_t rows_at_once(const struct call *call, uint32_t row, uint32_t left)
{
	const size_t most = SLOT_OUTPUT / call->stride_bytes;
	uint32_t rows = left < most ? left : (uint32_t)most;
	struct columns p;

	while (!call->resident && rows && !plan_columns(&p, call, row, rows))
		rows /= 2;
	return rows;
}

/* Finds the slice with the rows: that of the resident matrix, or columns uploaded for this call. */
static int get_slice(const struct call *call, struct slice *s, uint32_t row, uint32_t nrows)
{
	struct columns p;
	int rc;

	if (call->resident) {
		*s = call->resident->columns.slice;
		s->row0 = row;
		return 0;
	}
	if (!plan_columns(&p, call, row, nrows))
		return -EINVAL; /* rows_at_once has checked */
	columns_place(&p, call->slot->device_input);
	rc = columns_upload(&p, call->job, call->slot, call->why);
	*s = p.slice;
	s->row0 = row - p.first;
	return rc;
}

static int decode(const struct call *call, unsigned char *dst, uint32_t row, uint32_t nrows)
{
	const size_t row_bytes = call->job->row_bytes;
	struct slice s;
	int rc = get_slice(call, &s, row, nrows);

	if (rc)
		return rc;
	s.rows = nrows;
	s.out = (unsigned char *)(uintptr_t)call->slot->device_output;
	s.out_stride = (call->q->in_features + 7) / 8 * 8;
	rc = device_dequant(&call->c->device, call->kernel, &s, call->slot->stream, call->why);
	if (rc == 0)
		rc = slot_fetch(call->slot, nrows * call->stride_bytes, call->why);
	if (rc == 0)
		rc = slot_wait(call->slot, call->why);
	if (rc)
		return rc;
	if (row_bytes == call->stride_bytes)
		memcpy(dst, call->slot->output, nrows * row_bytes);
	else
		for (uint32_t i = 0; i < nrows; i++)
			memcpy(dst + i * row_bytes, call->slot->output + i * call->stride_bytes, row_bytes);
	return 0;
}

static int call_run(struct call *call)
{
	const struct accel_job *job = call->job;
	int rc = residents_get(&call->c->residents, job, call->slot, &call->resident, call->why);

	for (uint32_t done = 0, rows; rc == 0 && done < job->nrows; done += rows) {
		rows = rows_at_once(call, job->row0 + done, job->nrows - done);
		if (rows == 0)
			return -ENOTSUP;
		rc = decode(call, (unsigned char *)job->dst + done * job->row_bytes, job->row0 + done, rows);
	}
	return rc;
}

static int cuda_dequant(void *state, const struct accel_job *job, struct accel_text *why)
{
	const size_t element = job->out == DTYPE_F32 ? 4 : 2;
	const struct qtensor *q = job->matrix;
	struct cuda *c = state;
	struct call call = {.c = c,
	    .job = job,
	    .q = q,
	    .kernel = device_kernel(&c->device, q, job->out),
	    .stride_bytes = ((size_t)q->in_features + 7) / 8 * 8 * element,
	    .why = why};
	struct accel_text ignored;
	int rc;

	if (!call.kernel)
		return -ENOTSUP;
	rc = device_enter(&c->device, why);
	if (rc)
		return rc;
	call.slot = slot_take(&c->slots, why);
	if (!call.slot)
		return -ENOMEM;
	rc = call_run(&call);
	if (rc) /* the next user must not find copies in progress */
		slot_wait(call.slot, &ignored);
	slot_give(&c->slots, call.slot);
	return rc;
}

static void cuda_forget(void *state, const void *matrix)
{
	struct cuda *c = state;
	struct accel_text ignored;

	if (device_enter(&c->device, &ignored) == 0)
		residents_forget(&c->residents, matrix);
}

extern const struct accel_plugin gptqfs_accel_plugin __attribute__((visibility("default")));

static const struct accel_encoding encodings[] = {{ACCEL_GPTQ, sizeof(struct qtensor)}, {NULL, 0}};

const struct accel_plugin gptqfs_accel_plugin = {
    .size = sizeof(struct accel_plugin),
    .version = ACCEL_VERSION,
    .job_size = sizeof(struct accel_job),
    .encodings = encodings,
    .open = cuda_open,
    .dequant = cuda_dequant,
    .forget = cuda_forget,
    .close = cuda_close,
};
