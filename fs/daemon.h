/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DAEMON_H
#define GPTQFS_DAEMON_H

#include <stdbool.h>

#include "exit.h"

/*
 * Going to the background without losing an error: the parent stays until the child reports, and exits with the code
 * it is given.
 */

/*
 * Closes the descriptors above 2 that the caller left open, which a server in the background would hold for good,
 * except those that arguments name (/dev/fd/N).
 */
void daemon_close_inherited(int argc, char **argv);

/* The same later on: keeps the files of this program, which are those that an exec would close. */
void daemon_close_foreign(void);

/* Opens /dev/null on 0 to 2 where they are closed, so that no other file lands there. Returns 0 or -errno. */
int daemon_guard_descriptors(void);

enum daemon_side { DAEMON_CHILD, DAEMON_PARENT };

struct daemon {
	bool passes_signals; /* to be set: the parent passes those of signals_of_server, which are blocked, to the child
	                      */
	enum daemon_side side; /* which process this is */
	enum exit_code code;   /* parent: as the child reported; EXIT_SERVE if it died before */
	int status;            /* child: for daemon_ready */
};

/* Forks. Returns in the child at once, in the parent when the child has reported or died. Returns 0, or -errno if there
 * was no fork. */
int daemon_start(struct daemon *d);

/*
 * Reports to the parent, which exits with `code`. With EXIT_OK also leaves terminal, directory and descriptors 0 to 2;
 * not 2 if `talk`: messages then still go to stderr.
 */
void daemon_ready(int status, enum exit_code code, bool talk);

#endif
