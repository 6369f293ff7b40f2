/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CUDA_COLUMNS_H
#define GPTQFS_CUDA_COLUMNS_H

/*
 * Columns of a packed matrix in device memory: their layout, and copying them there. One piece of memory holds all
 * parts in sequence, with those from the checkpoint first.
 */

#include "slot.h"

/* Columns [first, first + count); first is a multiple of this, so that words of all kinds begin there. */
#define COLUMNS_ALIGN 64

struct columns {
	const struct qtensor *q;
	uint32_t first, count;
	struct slice slice; /* addresses are offsets until columns_place */
	size_t copied;      /* bytes from the checkpoint */
	size_t bytes;       /* total bytes */
};

/* Plans the columns. Returns false if they are too large for a slice, or a row for the staging buffer. */
bool columns_plan(struct columns *p, const struct qtensor *q, uint32_t first, uint32_t count);

/* Turns offsets into addresses, with the memory at `base`, of p->bytes bytes. */
void columns_place(struct columns *p, driver_address base);

/*
 * Copies the columns to their place and makes the table, in the order of the slot's stream. Returns 0, a failure of
 * job->copy, or -errno with the reason.
 */
int columns_upload(const struct columns *p, const struct accel_job *job, struct slot *slot, struct accel_text *why);

#endif
