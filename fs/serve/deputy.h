/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DEPUTY_H
#define GPTQFS_DEPUTY_H

#include <stdbool.h>
#include <sys/types.h>

/* A process that waits until the one that posted it has died, and then goes on in its place. */
struct deputy {
	pid_t pid; /* or -1 */
	int life;  /* connected to it; closes when this process and all its later forks have died */
};

#define DEPUTY_NONE    \
	{              \
		-1, -1 \
	}

/*
 * Forks a deputy. In the caller returns false at once, even if that failed. In the deputy returns true when the caller
 * has died, after it has posted a deputy of its own.
 */
bool deputy_post(struct deputy *d);

/* Ends the deputy: nothing need be done any more when the caller dies. */
void deputy_dismiss(struct deputy *d);

#endif
