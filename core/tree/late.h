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
	/* Plans the files. Called by one thread at a time until it returns 0; any other result is -errno, and then it
	 * has changed nothing that anybody sees. */
	int (*plan)(struct late *late);
	const char *refusal; /* set by `plan`: why there are no files but one that tells this; NULL if all is well */
	atomic_bool done;
	pthread_mutex_t lock;
};

#define LATE(plan_fn)                                                \
	{                                                            \
		.plan = (plan_fn), .lock = PTHREAD_MUTEX_INITIALIZER \
	}

/* Plans the files unless that is done. Any number of threads. Returns what `plan` does. */
int late_run(struct late *late);

#endif
