/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CUDA_SLOT_H
#define GPTQFS_CUDA_SLOT_H

/*
 * What one call at a time needs: a stream, pinned memory on either side of the bus, and memory of the device for
 * columns that are not kept there. A few of them, made when first needed; a thread that finds none free waits.
 */

#include <pthread.h>

#include "device.h"

#define SLOT_STAGING ((size_t)4 << 20) /* packed columns: pinned, and on the device */
#define SLOT_OUTPUT ((size_t)2 << 20)  /* decoded rows, likewise */
#define SLOT_DEVICE_BYTES (SLOT_STAGING + SLOT_OUTPUT)
#define SLOTS 4

struct slot {
	const struct device *device;
	driver_stream stream;
	unsigned char *staging, *output; /* pinned */
	driver_address device_input, device_output;
	bool busy;
	bool unusable; /* there was no memory for it */
};

struct slots {
	const struct device *device;
	pthread_mutex_t lock;
	pthread_cond_t freed;
	unsigned count; /* at most SLOTS */
	struct slot slot[SLOTS];
};

void slots_init(struct slots *s, const struct device *device, unsigned count);
void slots_free(struct slots *s);

/* A slot of one's own until slot_give. Where memory is short, fewer slots have to do; NULL, with the reason, if it does
 * not suffice for one. */
struct slot *slot_take(struct slots *s, struct accel_text *why);
void slot_give(struct slots *s, struct slot *slot);

/* The three below: 0, or -errno with the reason. In the order of the stream: staging memory to the device; a decoded
 * stretch back to slot->output. Then wait for all of it. */
int slot_send(struct slot *slot, driver_address to, size_t bytes, struct accel_text *why);
int slot_fetch(struct slot *slot, size_t bytes, struct accel_text *why);
int slot_wait(struct slot *slot, struct accel_text *why);

#endif
