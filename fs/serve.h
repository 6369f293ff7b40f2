/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SERVE_H
#define GPTQFS_SERVE_H

#include "server.h"
#include "options.h"

/* A mounted session that is being served. */
struct fuse_session;
struct serving {
	struct fuse_session *session;
	struct server *server;
	const struct options *options;
	const char *mountpoint; /* canonical */
	int events, event;      /* a pipe through which the session's threads report: see struct server */
	int status;             /* for daemon_ready, or -1 in the foreground */
	int command;            /* what command_serve returned, or -1 without a command */
};

/*
 * Serves until the file system is unmounted, or a signal asks to leave: SIGTERM, SIGINT and SIGHUP detach the mount;
 * serving goes on until its last user is gone, or a second signal comes. Before the mount is usable they take it away
 * at once. SIGUSR1 logs the counters. signals_hold must have been called.
 *
 * Returns 0 when all is over, 1 when leaving at once (threads still run: exit without cleaning up), -errno if serving
 * failed.
 */
int serve(struct serving *s);

#endif
