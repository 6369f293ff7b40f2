/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DEPUTY_H
#define GPTQFS_DEPUTY_H

#include <stdbool.h>
#include <sys/types.h>

/* A process that waits until the one that posted it has died, and then goes on in its place. */
struct deputy {
	pid_t pid; /* or -1 */
	int life;  /* connected to it; closes when this process, and all that it forks later, have died */
};

#define DEPUTY_NONE    \
	{              \
		-1, -1 \
	}

/*
 * Forks a deputy, in which this returns when the caller has died, and after it has posted a deputy of its own. Returns
 * true in a deputy, false in the caller, even if there is no deputy.
 */
bool deputy_post(struct deputy *d);

/* Ends the deputy: nothing need be done after the death of the caller, or of a process before it, any more. */
void deputy_dismiss(struct deputy *d);

#endif
