/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_HELPER_H
#define GPTQFS_HELPER_H

#include <sys/types.h>

#include "exit.h"
#include "options.h"

/*
 * The helper: the process that mounts for a server, and removes the mount when that ends, however it ends. It never
 * sees a byte of the model, and stays small: it is forked before the model is opened. Only it needs the rights to mount
 * and unmount, to write to the log and to raise readahead. It has a deputy (deputy.h) in case it is killed. In the
 * background the deputy takes its place; in the foreground, and before the mount is usable, the deputy removes the
 * mount.
 */

struct helper {
	struct options *options; /* with o->erofs, mounts by EROFS */
	const char *path;        /* the mountpoint, canonical */
	pid_t server;
	int channel; /* to the server */
	int status;  /* for daemon_report, or -1 in the foreground */
	int command; /* result of command_serve, or -1 without a command */
	bool again;  /* set by helper_run: EROFS cannot be used, start another server */
};

/*
 * Serves the server until it has ended. SIGTERM, SIGINT and SIGHUP, to this process or to the server, detach the mount;
 * a second one ends the server at once, as does the first before the mount is usable. SIGUSR1 is passed on.
 * signals_hold must have been called. Returns the exit code, which it has also reported to `status`, unless h->again is
 * set.
 */
enum exit_code helper_run(struct helper *h);

#endif
