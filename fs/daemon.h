/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DAEMON_H
#define GPTQFS_DAEMON_H

/*
 * Going to the background without losing anybody's errors: the parent stays until the child says how it went, and
 * exits as the child tells it.
 */

/*
 * Closes what the caller left open beyond descriptor 2, which a server in the background would hold for good, but for
 * those that arguments name (/dev/fd/N); and opens /dev/null on 0 to 2 where they are closed, so that no file of ours
 * lands there. 0 or -errno.
 */
int daemon_guard_descriptors(int argc, char **argv);

/*
 * Forks. In the child, returns 0 and a descriptor in *status for daemon_ready. In the parent, returns the exit code
 * the child gave (1 + it, so never 0), or 1 + 5 if the child died without one. -errno if there was no fork.
 */
int daemon_start(int *status);

/* Tells the parent to exit with `code`. With code 0 also leaves terminal, directory and descriptors 0 to 2. */
void daemon_ready(int status, int code);

#endif
