/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CUDA_RESIDENT_H
#define GPTQFS_CUDA_RESIDENT_H

/*
 * Matrices that stay in device memory, first come, first served while they fit: models are read from front to back, and
 * evicting the oldest would evict each matrix just before it is needed again. Columns of the others are sent over the
 * bus with each call.
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
	size_t limit, used; /* bytes of device memory */
	struct resident *bucket[RESIDENT_BUCKETS];
};

void residents_init(struct residents *r, const struct device *device, size_t limit);
void residents_free(struct residents *r);

/*
 * Sets *out to the job's matrix, uploaded through the slot if necessary, where it stays until residents_forget; or to
 * NULL if it is not kept, does not fit, or another thread is uploading it. Returns 0, a failure of job->copy, or -errno
 * with the reason.
 */
int residents_get(struct residents *r, const struct accel_job *job, struct slot *slot, const struct resident **out,
    struct accel_text *why);

/* No call for this matrix may be in progress. */
void residents_forget(struct residents *r, const struct qtensor *q);

#endif
