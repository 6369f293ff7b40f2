/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MOUNTINFO_H
#define GPTQFS_MOUNTINFO_H

#include <limits.h>
#include <stdio.h>
#include <sys/types.h>

/* The mounts that this process sees, as in /proc/self/mountinfo. */

struct mountinfo {
	FILE *file;
	char *line;
	size_t room;
	/* The current mount. */
	dev_t dev;
	char where[PATH_MAX], source[PATH_MAX], type[64];
};

/* Returns 0 or -errno. */
int mountinfo_open(struct mountinfo *m);

/* Reads the next mount; later ones may hide earlier ones. Returns 1, 0 after the last one, or -errno. */
int mountinfo_next(struct mountinfo *m);
void mountinfo_close(struct mountinfo *m);

#endif
