/* SPDX-License-Identifier: MIT */
#include "device.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

/* PTX for all architectures of the toolkit, embedded by image.S; the driver compiles the one that suits the device. */
extern const unsigned char cuda_image[];

#define CALL(d, why, name, ...) driver_check(&(d)->driver, (d)->driver.name(__VA_ARGS__), #name, why)

static const struct {
	uint8_t packing, bits;
	const char *name;
} layouts[] = {
    {SLICE_STREAM, 2, "dequant_stream2"},
    {SLICE_STREAM, 3, "dequant_stream3"},
    {SLICE_STREAM, 4, "dequant_stream4"},
    {SLICE_STREAM, 8, "dequant_stream8"},
    {SLICE_PLANAR, 3, "dequant_planar3"},
    {SLICE_PLANAR, 5, "dequant_planar5"},
    {SLICE_PLANAR, 6, "dequant_planar6"},
    {SLICE_PLANAR, 7, "dequant_planar7"},
};

static int find_kernels(struct device *d, struct accel_text *why)
{
	static const char *const outputs[DTYPE_VIEWS] = {
	    [DTYPE_F16] = "f16", [DTYPE_BF16] = "bf16", [DTYPE_F32] = "f32"};
	int rc = CALL(d, why, cuModuleGetFunction, &d->expand, d->module, "expand_groups");

	for (size_t i = 0; rc == 0 && i < sizeof(layouts) / sizeof(*layouts) * DTYPE_VIEWS; i++) {
		const size_t layout = i / DTYPE_VIEWS, out = i % DTYPE_VIEWS;
		char name[64];

		snprintf(name, sizeof(name), "%s_%s", layouts[layout].name, outputs[out]);
		rc = CALL(d, why, cuModuleGetFunction, &d->dequant[layouts[layout].packing][layouts[layout].bits][out],
		    d->module, name);
	}
	return rc;
}

static int find_device(struct device *d, struct accel_text *why)
{
	int count = 0;
	int rc = CALL(d, why, cuInit, 0);

	if (rc == 0)
		rc = CALL(d, why, cuDeviceGetCount, &count);
	if (rc == 0 && count < 1) {
		snprintf(why->text, sizeof(why->text), "the CUDA driver finds no GPU");
		rc = -ENODEV;
	}
	if (rc == 0)
		rc = CALL(d, why, cuDeviceGet, &d->ordinal, 0);
	if (rc == 0)
		rc = CALL(d, why, cuDeviceGetName, d->name, (int)sizeof(d->name), d->ordinal);
	if (rc == 0)
		rc = CALL(d, why, cuDriverGetVersion, &d->version);
	return rc;
}

int device_open(struct device *d, struct accel_text *why)
{
	int rc = driver_open(&d->driver, why);

	if (rc == 0)
		rc = find_device(d, why);
	if (rc == 0)
		rc = CALL(d, why, cuDevicePrimaryCtxRetain, &d->context, d->ordinal);
	if (rc == 0)
		rc = device_enter(d, why);
	if (rc == 0)
		rc = CALL(d, why, cuModuleLoadData, &d->module, cuda_image);
	return rc ? rc : find_kernels(d, why);
}

void device_close(struct device *d)
{
	struct accel_text ignored;

	if (!d->context)
		return;
	if (d->module && device_enter(d, &ignored) == 0)
		d->driver.cuModuleUnload(d->module);
	d->driver.cuDevicePrimaryCtxRelease_v2(d->ordinal);
	d->context = NULL;
}

int device_enter(const struct device *d, struct accel_text *why)
{
	return CALL(d, why, cuCtxSetCurrent, d->context);
}

driver_function device_kernel(const struct device *d, const struct qtensor *q, enum dtype out)
{
	/* 2, 4 and 8 bits are one plane, and one plane is a stream. */
	const bool one_plane = (q->bits & (q->bits - 1)) == 0;
	const int packing = q->packing == PACKING_PLANAR && !one_plane ? SLICE_PLANAR : SLICE_STREAM;

	if (!one_plane && q->word_bits != 32)
		return NULL;
	return d->dequant[packing][q->bits][out];
}

/* Launches a kernel over a slice, with x by y blocks. */
struct launch {
	driver_function kernel;
	const struct slice *slice;
	unsigned x, y;
};

static int launch(const struct device *d, const struct launch *l, driver_stream stream, struct accel_text *why)
{
	void *parameters[] = {(void *)l->slice};

	return CALL(d, why, cuLaunchKernel, l->kernel, l->x, l->y, 1, SLICE_THREADS, 1, 1, 0, stream, parameters, NULL);
}

int device_dequant(const struct device *d, driver_function kernel, const struct slice *s, driver_stream stream,
    struct accel_text *why)
{
	const uint32_t column0 = s->row0 / 4 * 4;
	const struct launch l = {
	    kernel, s, (s->in_features - 1) / SLICE_INPUTS + 1, (s->row0 + s->rows - 1 - column0) / SLICE_COLUMNS + 1};

	return launch(d, &l, stream, why);
}

int device_expand(const struct device *d, const struct slice *s, driver_stream stream, struct accel_text *why)
{
	const struct launch l = {d->expand, s, s->groups, (s->columns - 1) / SLICE_THREADS + 1};

	return launch(d, &l, stream, why);
}
