/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CUDA_COLUMNS_H
#define GPTQFS_CUDA_COLUMNS_H

/*
 * Columns of a packed matrix in the device's memory: how they lie there, and how they get there. One piece of memory
 * holds all parts of them, one after the other; what comes from the checkpoint comes first.
 */

#include "slot.h"

/* Columns [first, first + count); first is a multiple of this, so that words of every kind begin there. */
#define COLUMNS_ALIGN 64

struct columns {
	const struct qtensor *q;
	uint32_t first, count;
	struct slice slice; /* its addresses are offsets until columns_place */
	size_t copied;      /* bytes that come from the checkpoint */
	size_t bytes;       /* in all */
};

/* Plans the columns. False if they are too large for what slices can address, or for one staging buffer a row. */
bool columns_plan(struct columns *p, const struct qtensor *q, uint32_t first, uint32_t count);

/* Turns offsets into addresses: p lies at `base`, p->bytes long. */
void columns_place(struct columns *p, driver_address base);

/* Has the columns copied to where they were placed, and the table made, in the order of the slot's stream. 0, what
 * job->copy returned, or -errno with the reason. */
int columns_upload(const struct columns *p, const struct accel_job *job, struct slot *slot, struct accel_text *why);

#endif
