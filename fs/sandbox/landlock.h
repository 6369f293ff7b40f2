/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LANDLOCK_H
#define GPTQFS_LANDLOCK_H

#include <stdbool.h>

/* Landlock: restricts this process to named files, and keeps it from the network and from signalling others. */

struct landlock {
	int abi; /* of the kernel */
	int rules;
	unsigned long long handled;
};

enum landlock_access {
	LANDLOCK_READ,   /* files and directories, and what is below */
	LANDLOCK_DEVICE, /* read, write and ioctl */
	LANDLOCK_WRITE,  /* regular files and directories below: read, write, make, remove */
	LANDLOCK_REMOVE, /* empty directories below: remove */
};

/*
 * Starts a set of rules. With only_writing everything may be read. Returns 0 or -errno: ENOSYS or EOPNOTSUPP without
 * landlock.
 */
int landlock_start(struct landlock *l, bool only_writing);

/* Allows access to a path. Succeeds for one that does not exist or is inaccessible anyway. Returns 0 or -errno. */
int landlock_allow(const struct landlock *l, const char *path, enum landlock_access access);

/* Puts the rules in force for this thread and those it starts. no_new_privs must be set. Returns 0 or -errno. */
int landlock_finish(struct landlock *l);

#endif
