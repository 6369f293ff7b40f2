/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CUDA_DEVICE_H
#define GPTQFS_CUDA_DEVICE_H

/* The driver's first GPU (see CUDA_VISIBLE_DEVICES), with the kernels loaded. */

#include "driver.h"
#include "slice.h"

struct device {
	struct driver driver;
	driver_device ordinal;
	driver_context context; /* the primary context, shared with other users of CUDA in this process */
	driver_module module;
	driver_function expand;                     /* expand_groups */
	driver_function dequant[2][9][DTYPE_VIEWS]; /* [packing][bits][output], NULL if there is none */
	char name[128];
	int version; /* CUDA version of the driver, 1000 * major + 10 * minor */
};

/* Returns 0, or -errno with the reason. device_close may be called in either case, and on a zeroed struct. */
int device_open(struct device *d, struct accel_text *why);
void device_close(struct device *d);

/* Each thread must call it first. Returns 0, or -errno with the reason. */
int device_enter(const struct device *d, struct accel_text *why);

/* Returns the kernel for this layout and output, or NULL. */
driver_function device_kernel(const struct device *d, const struct qtensor *q, enum dtype out);

/* Decodes the slice's rows with the kernel, in the order of the stream. Likewise. */
int device_dequant(const struct device *d, driver_function kernel, const struct slice *s, driver_stream stream,
    struct accel_text *why);

/* Makes the slice's table. Likewise. */
int device_expand(const struct device *d, const struct slice *s, driver_stream stream, struct accel_text *why);

#endif
