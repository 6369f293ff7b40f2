/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SERVE_H
#define GPTQFS_SERVE_H

#include "server.h"
#include "options.h"

/* A mounted session being served. */
struct fuse_session;
struct serving {
	struct fuse_session *session;
	struct server *server;
	const struct options *options;
	const char *mountpoint; /* canonical */
	int events, event;      /* pipe through which the session's threads report: see struct server */
	int status;             /* for daemon_ready, or -1 in the foreground */
	int command;            /* result of command_serve, or -1 without a command */
};

/*
 * Serves until the file system is unmounted. SIGTERM, SIGINT and SIGHUP detach the mount, after which serving goes on
 * until the last user is gone or a second signal arrives; before the mount is usable, they remove it at once. SIGUSR1
 * logs the counters. signals_hold must have been called.
 *
 * Returns 0 after the end of the session, 1 if the process must exit at once, without cleanup because threads still
 * run, and -errno if serving failed.
 */
int serve(struct serving *s);

#endif
