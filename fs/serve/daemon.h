/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_DAEMON_H
#define GPTQFS_DAEMON_H

#include <stdbool.h>

#include "exit.h"

/* Going to the background without losing errors: the parent waits until the child reports, and exits with that code. */

/*
 * Closes descriptors above 2 inherited from the caller, which a background server would keep open forever, except those
 * named in arguments (/dev/fd/N).
 */
void daemon_close_inherited(int argc, char **argv);

/* The same at a later time: keeps this program's own files, which are marked close-on-exec. */
void daemon_close_foreign(void);

/*
 * Opens /dev/null on those of descriptors 0 to 2 that are closed, so that no other file gets these numbers; read-only,
 * so that output still fails and is not lost. Returns 0 or -errno.
 */
int daemon_guard_descriptors(void);

enum daemon_side { DAEMON_CHILD, DAEMON_PARENT };

struct daemon {
	enum daemon_side side; /* which process this is */
	enum exit_code code;   /* parent: reported by the child; EXIT_SERVE if it died before */
	int status;            /* child: for daemon_report */
};

/*
 * Forks. Returns at once in the child, and in the parent when the child has reported or died; until then the parent
 * forwards signals_of_server, which must be blocked, to the child. Returns 0, or -errno if the fork failed.
 */
int daemon_start(struct daemon *d);

/*
 * Leaves the directory, and replaces descriptors 0 to 2 with `null`, an open /dev/null, which it closes. With `talk`
 * keeps stderr for messages.
 */
void daemon_detach(int null, bool talk);

/* Starts a session of its own, and detaches; without `talk` logs to syslog from now on. */
void daemon_leave(bool talk);

/* Reports to the parent, which exits with `code`. Call daemon_leave first. */
void daemon_report(int status, enum exit_code code);

#endif
