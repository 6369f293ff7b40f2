/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_CUDA_SLOT_H
#define GPTQFS_CUDA_SLOT_H

/*
 * The resources of one call: a stream, pinned memory for both directions, and device memory for columns that are not
 * kept there. Made when first needed, at most SLOTS; a thread that finds none free waits.
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
	bool unusable; /* out of memory */
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

/*
 * Returns a slot for exclusive use until slot_give. If memory is short, there are fewer slots; NULL, with the reason,
 * if there is none.
 */
struct slot *slot_take(struct slots *s, struct accel_text *why);
void slot_give(struct slots *s, struct slot *slot);

/*
 * Return 0, or -errno with the reason. In the order of the stream: send staging memory to the device; get a decoded
 * stretch back in slot->output; wait for all of it.
 */
int slot_send(struct slot *slot, driver_address to, size_t bytes, struct accel_text *why);
int slot_fetch(struct slot *slot, size_t bytes, struct accel_text *why);
int slot_wait(struct slot *slot, struct accel_text *why);

#endif
