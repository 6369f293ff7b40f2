/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CUDA_RESIDENT_H
#define GPTQFS_CUDA_RESIDENT_H

/*
 * Matrices that stay in the device's memory. First come, first kept, while they fit: a model is read from front to
 * back, and then throwing out the oldest would throw out each one just before it is wanted again. Those that do not
 * fit go over the bus column by column with each call.
 */

#include "columns.h"

struct resident {
	struct columns columns;
	driver_address base;
	bool ready; /* else another thread is uploading it */
	struct resident *next;
};

#define RESIDENT_BUCKETS 1024

struct residents {
	const struct device *device;
	pthread_mutex_t lock;
	size_t limit, used; /* bytes of the device's memory */
	struct resident *bucket[RESIDENT_BUCKETS];
};

void residents_init(struct residents *r, const struct device *device, size_t limit);
void residents_free(struct residents *r);

/*
 * The matrix of the job in *out, uploaded by way of the slot if need be; NULL there if it is not to be kept, does not
 * fit, or is being uploaded by another thread. It stays until residents_forget. 0, what job->copy returned, or -errno
 * with the reason.
 */
int residents_get(struct residents *r, const struct accel_job *job, struct slot *slot, const struct resident **out,
    struct accel_text *why);

/* No call for this matrix may be in progress. */
void residents_forget(struct residents *r, const struct qtensor *q);

#endif
