/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LATE_H
#define GPTQFS_LATE_H

/*
 * Files planned on first lookup, because planning is expensive and most mounts never need them. Their nodes exist from
 * the start, so that inode numbers do not depend on the order of lookups; names and contents are set once, under a
 * lock. An implementation's struct begins with struct late.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct late {
	/*
	 * Plans the files; called under the lock. Returns 0, or -errno with nothing visibly changed: it is then called
	 * again on the next lookup.
	 */
	int (*plan)(struct late *late);
	const char *refusal;           /* set by `plan`: why there is nothing but a file with this reason; or NULL */
	const char *summary, *remarks; /* set by `plan` if there is no refusal, for reports: one line; any lines */
	atomic_bool done;
	pthread_mutex_t *lock; /* shared by all late files of a tree */
};

/* Plans the files unless that is done; NULL is allowed. Any number of threads. Returns the result of `plan`. */
int late_run(struct late *late);

#endif
