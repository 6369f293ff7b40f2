/* SPDX-License-Identifier: MIT */
#include "slot.h"

#include <stdio.h>

#define CALL(slot, why, name, ...) \
	driver_check(&(slot)->device->driver, (slot)->device->driver.name(__VA_ARGS__), #name, why)

void slots_init(struct slots *s, const struct device *device, unsigned count)
{
	*s = (struct slots){.device = device, .count = count};
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->freed, NULL);
	for (unsigned i = 0; i < count; i++)
		s->slot[i].device = device;
}

static void close_slot(struct slot *slot)
{
	const struct driver *d = &slot->device->driver;

	if (slot->stream)
		d->cuStreamDestroy_v2(slot->stream);
	if (slot->staging)
		d->cuMemFreeHost(slot->staging);
	if (slot->output)
		d->cuMemFreeHost(slot->output);
	if (slot->device_input)
		d->cuMemFree_v2(slot->device_input);
	if (slot->device_output)
		d->cuMemFree_v2(slot->device_output);
	/* busy and unusable are protected by the lock, which need not be held here. */
	slot->stream = NULL;
	slot->staging = slot->output = NULL;
	slot->device_input = slot->device_output = 0;
}

void slots_free(struct slots *s)
{
	for (unsigned i = 0; i < s->count; i++)
		close_slot(&s->slot[i]);
	if (!s->device)
		return;
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->freed);
}

static int open_slot(struct slot *slot, struct accel_text *why)
{
	int rc = CALL(slot, why, cuStreamCreate, &slot->stream, DRIVER_STREAM_NON_BLOCKING);

	if (rc == 0)
		rc = CALL(slot, why, cuMemHostAlloc, (void **)&slot->staging, SLOT_STAGING, 0);
	if (rc == 0)
		rc = CALL(slot, why, cuMemHostAlloc, (void **)&slot->output, SLOT_OUTPUT, 0);
	if (rc == 0)
		rc = CALL(slot, why, cuMemAlloc_v2, &slot->device_input, SLOT_STAGING);
	if (rc == 0)
		rc = CALL(slot, why, cuMemAlloc_v2, &slot->device_output, SLOT_OUTPUT);
	return rc;
}

/* Returns a free slot, preferably one used before. *left is false if there will never be one. The lock is held. */
static struct slot *find_free(struct slots *s, bool *left)
{
	*left = false;
	for (unsigned i = 0; i < s->count; i++) {
		*left |= !s->slot[i].unusable;
		if (!s->slot[i].busy && !s->slot[i].unusable)
			return &s->slot[i];
	}
	return NULL;
}

static struct slot *wait_for_free(struct slots *s)
{
	struct slot *slot;
	bool left;

	pthread_mutex_lock(&s->lock);
	while (!(slot = find_free(s, &left)) && left)
		pthread_cond_wait(&s->freed, &s->lock);
	if (slot)
		slot->busy = true;
	pthread_mutex_unlock(&s->lock);
	return slot;
}

static void give(struct slots *s, struct slot *slot, bool unusable)
{
	pthread_mutex_lock(&s->lock);
	slot->busy = false;
	slot->unusable = unusable;
	pthread_cond_broadcast(&s->freed);
	pthread_mutex_unlock(&s->lock);
}

struct slot *slot_take(struct slots *s, struct accel_text *why)
{
	struct slot *slot;

	snprintf(why->text, sizeof(why->text), "out of memory");
	while ((slot = wait_for_free(s))) {
		if (slot->stream || open_slot(slot, why) == 0)
			return slot;
		close_slot(slot);
		give(s, slot, true);
	}
	return NULL;
}

void slot_give(struct slots *s, struct slot *slot)
{
	give(s, slot, false);
}

int slot_send(struct slot *slot, driver_address to, size_t bytes, struct accel_text *why)
{
	return CALL(slot, why, cuMemcpyHtoDAsync_v2, to, slot->staging, bytes, slot->stream);
}

int slot_fetch(struct slot *slot, size_t bytes, struct accel_text *why)
{
	return CALL(slot, why, cuMemcpyDtoHAsync_v2, slot->output, slot->device_output, bytes, slot->stream);
}

int slot_wait(struct slot *slot, struct accel_text *why)
{
	return CALL(slot, why, cuStreamSynchronize, slot->stream);
}
