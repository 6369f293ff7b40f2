/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MOUNTINFO_H
#define GPTQFS_MOUNTINFO_H

#include <stdio.h>
#include <sys/types.h>

/* The mounts that this process sees, as in /proc/self/mountinfo. */

/* Precedes the model in the source of a mount by EROFS: "gptqfs:/models/Llama". */
#define MOUNTINFO_EROFS "gptqfs:"

/*
 * Room for what follows it, with a NUL, in the 256 bytes that fsconfig takes. A longer name is cut and ends in
 * MOUNTINFO_CUT.
 */
#define MOUNTINFO_EROFS_MAX (256 - (sizeof(MOUNTINFO_EROFS) - 1))
#define MOUNTINFO_CUT "..."

struct mountinfo {
	FILE *file;
	char *line;
	size_t room;
	/* The current mount, until the next one is read. */
	dev_t dev;
	const char *where, *type;
	char *source;
};

/* Returns 0 or -errno. */
int mountinfo_open(struct mountinfo *m);

/* Reads the next mount; later ones may hide earlier ones. Returns 1, 0 after the last one, or -errno. */
int mountinfo_next(struct mountinfo *m);

/* Returns the model of the current mount if it is one of gptqfs, else NULL. */
const char *mountinfo_model(const struct mountinfo *m);

void mountinfo_close(struct mountinfo *m);

#endif
