/* SPDX-License-Identifier: MIT */
#include "resident.h"

#include <stdlib.h>

void residents_init(struct residents *r, const struct device *device, size_t limit)
{
	*r = (struct residents){.device = device, .limit = limit};
	pthread_mutex_init(&r->lock, NULL);
}

static struct resident **resident_find(struct residents *r, const struct qtensor *q)
{
	const uint64_t hash = (uintptr_t)q * 0x9e3779b97f4a7c15ull;
	struct resident **at = &r->bucket[hash >> 54];

	_Static_assert(RESIDENT_BUCKETS == 1 << (64 - 54), "the upper bits of a hash choose the bucket");
	while (*at && (*at)->columns.q != q)
		at = &(*at)->next;
	return at;
}

/* Removes a matrix from the table, with the lock held, and frees it. */
static void resident_drop(struct residents *r, struct resident **at)
{
	struct resident *gone = *at;

	*at = gone->next;
	r->used -= gone->columns.bytes;
	if (gone->base)
		r->device->driver.cuMemFree_v2(gone->base);
	free(gone);
}

void residents_free(struct residents *r)
{
	if (!r->device)
		return;
	for (size_t i = 0; i < RESIDENT_BUCKETS; i++)
		while (r->bucket[i])
			resident_drop(r, &r->bucket[i]);
	pthread_mutex_destroy(&r->lock);
}

void residents_forget(struct residents *r, const struct qtensor *q)
{
	struct resident **at;

	pthread_mutex_lock(&r->lock);
	at = resident_find(r, q);
	if (*at)
		resident_drop(r, at);
	pthread_mutex_unlock(&r->lock);
}

/* Adds a matrix that is not in the table, if it fits. Called with the lock held. */
static struct resident *resident_enter(struct residents *r, struct resident **at, const struct qtensor *q)
{
	struct resident *new = calloc(1, sizeof(*new));

	if (!new || !columns_plan(&new->columns, q, 0, q->out_features) || new->columns.bytes > r->limit - r->used) {
		free(new);
		return NULL;
	}
	r->used += new->columns.bytes;
	*at = new;
	return new;
}

/* The device may have less memory than requested, as others use it too. Then nothing more is kept. */
static bool allocate(struct residents *r, struct resident *new)
{
	struct accel_text ignored;
	const struct driver *d = &r->device->driver;

	if (driver_check(d, d->cuMemAlloc_v2(&new->base, new->columns.bytes), "cuMemAlloc", &ignored) == 0)
		return true;
	new->base = 0;
	return false;
}

static int upload(struct resident *new, const struct accel_job *job, struct slot *slot, struct accel_text *why)
{
	struct accel_text ignored;
	int rc, waited;

	columns_place(&new->columns, new->base);
	rc = columns_upload(&new->columns, job, slot, why);
	/* Other streams will read it, and after a failure its memory must not be freed during a copy. */
	waited = slot_wait(slot, rc ? &ignored : why);
	return rc ? rc : waited;
}

int residents_get(struct residents *r, const struct accel_job *job, struct slot *slot, const struct resident **out,
    struct accel_text *why)
{
	struct resident **at, *found, *new = NULL;
	bool room;
	int rc = 0;

	*out = NULL;
	pthread_mutex_lock(&r->lock);
	at = resident_find(r, job->matrix);
	found = *at;
	if (found && found->ready)
		*out = found;
	if (!found && job->keep)
		new = resident_enter(r, at, job->matrix);
	pthread_mutex_unlock(&r->lock);
	if (!new)
		return 0;
	room = allocate(r, new);
	if (room)
		rc = upload(new, job, slot, why);
	pthread_mutex_lock(&r->lock);
	if (room && rc == 0) {
		new->ready = true;
		*out = new;
	} else {
		resident_drop(r, resident_find(r, job->matrix));
		if (!room)
			r->limit = r->used;
	}
	pthread_mutex_unlock(&r->lock);
	return rc;
}
