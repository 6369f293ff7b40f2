/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CUDA_DEVICE_H
#define GPTQFS_CUDA_DEVICE_H

/* The first GPU that the driver shows (CUDA_VISIBLE_DEVICES orders them), with the kernels loaded. */

#include "driver.h"
#include "slice.h"

struct device {
	struct driver driver;
	driver_device ordinal;
	driver_context context; /* the primary one, shared with whatever else this process does with CUDA */
	driver_module module;
	driver_function expand;                     /* expand_groups */
	driver_function dequant[2][9][DTYPE_VIEWS]; /* [packing][bits][output], NULL if there is none */
	char name[128];
	int version; /* of CUDA that the driver knows, 1000 * major + 10 * minor */
};

/* 0, or -errno with the reason; device_close may be called in either case, on what was zeroed before. */
int device_open(struct device *d, struct accel_text *why);
void device_close(struct device *d);

/* Before anything else is done by a thread. */
int device_enter(const struct device *d, struct accel_text *why);

/* The kernel of this layout and output, or NULL. */
driver_function device_kernel(const struct device *d, const struct qtensor *q, enum dtype out);

/* Has the kernel decode the slice's rows, in the order of the stream. */
int device_dequant(const struct device *d, driver_function kernel, const struct slice *s, driver_stream stream,
    struct accel_text *why);

/* Makes the slice's table. */
int device_expand(const struct device *d, const struct slice *s, driver_stream stream, struct accel_text *why);

#endif
