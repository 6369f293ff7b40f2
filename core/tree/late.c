/* SPDX-License-Identifier: MIT */
#include "tree/late.h"

int late_run(struct late *late)
{
	int rc = 0;

	if (!late || atomic_load_explicit(&late->done, memory_order_acquire))
		return 0;
	pthread_mutex_lock(late->lock);
	if (!atomic_load_explicit(&late->done, memory_order_relaxed)) {
		rc = late->plan(late);
		if (rc == 0)
			atomic_store_explicit(&late->done, true, memory_order_release);
	}
	pthread_mutex_unlock(late->lock);
	return rc;
}
