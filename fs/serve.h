/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SERVE_H
#define GPTQFS_SERVE_H

#include "server.h"
#include "options.h"

/* One mounted session being served. */
struct fuse_session;
struct serving {
	struct fuse_session *session;
	struct server *server;
	const struct options *options;
	const char *mountpoint; /* canonical */
	int events, event;      /* a pipe by which the session's threads report: see struct server */
	int status;             /* for daemon_ready, or -1 in the foreground */
	int command;            /* what command_serve returned, or -1 without a command */
};

/*
 * Serves until the file system is unmounted, or a signal asks to leave: SIGTERM, SIGINT and SIGHUP detach the mount and
 * serve on until its last user has gone; the second of them leaves at once. SIGUSR1 logs the counters.
 * 0 when all is over, 1 when leaving at once (threads still run: exit without cleaning up), -errno if serving failed.
 */
int serve(struct serving *s);

#endif
