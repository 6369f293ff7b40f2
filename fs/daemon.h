/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DAEMON_H
#define GPTQFS_DAEMON_H

#include <stdbool.h>

/*
 * Going to the background without losing anybody's errors: the parent stays until the child says how it went, and
 * exits as the child tells it.
 */

/*
 * Closes what the caller left open beyond descriptor 2, which a server in the background would hold for good, but for
 * those that arguments name (/dev/fd/N).
 */
void daemon_close_inherited(int argc, char **argv);

/* The same in a process that has files of its own by now, which are those that an exec would close. */
void daemon_close_foreign(void);

/* Opens /dev/null on 0 to 2 where they are closed, so that no file of ours lands there. 0 or -errno. */
int daemon_guard_descriptors(void);

/*
 * Forks. In the child, returns 0 and a descriptor in *status for daemon_ready. In the parent, returns the exit code
 * the child gave (1 + it, so never 0), or 1 + 5 if the child died without one. -errno if there was no fork.
 */
int daemon_start(int *status);

/*
 * Tells the parent to go on with `code`. With code 0 also leaves terminal, directory and descriptors 0 to 2; not 2 if
 * `talk`: then lines go on to stderr.
 */
void daemon_ready(int status, int code, bool talk);

#endif
