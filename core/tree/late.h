/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LATE_H
#define GPTQFS_LATE_H

/*
 * Files that are planned when they are first looked at, because that costs more than most mounts would ever have of it.
 * Their nodes are there from the start, so that inode numbers do not depend on who looks when; what they are called and
 * hold is settled once, under a lock. Owner's structs begin with struct late.
 */

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct late {
	/*
	 * Plans the files: once, and no other files at the same time. Returns 0, or -errno after which nothing that
	 * others see has changed; then it is called again when somebody looks again.
	 */
	int (*plan)(struct late *late);
	const char *refusal; /* set by `plan`: why there is no file but one that tells this; or NULL */
	atomic_bool done;
	pthread_mutex_t *lock; /* of all files of a tree */
};

/* Plans the files unless that is done. Any number of threads. Returns what `plan` does. */
int late_run(struct late *late);

#endif
