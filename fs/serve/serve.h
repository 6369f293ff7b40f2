/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SERVE_H
#define GPTQFS_SERVE_H

#include "serve/server.h"
#include "options.h"
#include "sandbox/sandbox.h"

/* A mounted session being served. */
struct fuse_session;
struct serving {
	struct fuse_session *session;
	struct server *server;
	/* With a face, the session of the image, and its server, which has a loop of its own. */
	struct fuse_session *behind;
	struct server server_behind;
	const struct options *options;
	const char *mountpoint; /* canonical */
	int events;             /* the other end of server->event */
	struct sandbox sandbox;
	int channel;     /* to the helper */
	bool background; /* leaves the caller's terminal once the mount is usable */
};

/*
 * Serves until the file system is unmounted, or detached and no longer used. Passes requests to exit to the helper;
 * SIGUSR1 logs the counters. signals_hold must have been called.
 *
 * Returns 0 after the end of the session; 1 if the process must exit at once, without cleanup, because threads still
 * run; -ECONNREFUSED if the kernel never made contact; or -errno if serving failed.
 */
int serve(struct serving *s);

#endif
