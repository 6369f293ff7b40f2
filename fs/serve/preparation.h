/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PREPARATION_H
#define GPTQFS_PREPARATION_H

/*
 * The last step of mounting, which needs a server that answers: mounting EROFS, opening the files behind a face,
 * setting the readahead. The helper leaves it to a child, so that a server that never answers hangs only that.
 */

#include <stdbool.h>
#include <sys/types.h>

#include "gptqfs.h"

struct options;
struct pagecache;

struct preparation {
	pid_t pid; /* of the child, or 0 */
	int pipe;  /* readable once the child has finished or died; or -1 */
	int files; /* with a face: passes on the paths that the server names, each with its NUL; or -1 */
};

#define PREPARATION_NONE  \
	{                 \
		0, -1, -1 \
	}

struct preparation_job {
	const struct options *options;
	const char *path, *source;   /* the mountpoint, canonical, and the model */
	struct pagecache *pagecache; /* the child closes its copy */
	int channel;                 /* to the server */
	dev_t dev;                   /* of the FUSE mount at the path, or 0 if it is gone or there is none */
};

struct prepared {
	int rc;             /* 0 or -errno, with the reason in err.text for EROFS; -ECANCELED if the child was killed */
	unsigned readahead; /* of the mount in KiB, 0 if unknown */
	struct gptqfs_error err;
};

/* Starts the child. Returns 0 or -errno. */
int preparation_start(struct preparation *p, const struct preparation_job *job);

/* Passes on a path that the server has named, or drops it. */
void preparation_add_file(const struct preparation *p, const char *path);

/* The server names no more paths. */
void preparation_end_files(struct preparation *p);

/* Waits until the child has finished. Returns false if it died before it could report. */
bool preparation_finish(struct preparation *p, struct prepared *out);

#endif
