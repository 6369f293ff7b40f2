/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_STATUS_H
#define GPTQFS_STATUS_H

#include "server.h"

/* What the server tells of itself as it runs, by the file `status`, extended attributes and the log. Any thread. */

/* A text that stays as it is while somebody reads it. */
struct snapshot {
	size_t len;
	char text[];
};

/* The server begins now. */
void status_start(struct server *server);

/* `status` as it is now; the caller frees it. NULL for lack of memory. */
struct snapshot *status_snapshot(const struct server *server);

/* The same on one line in the log. */
void status_log(const struct server *server);

/*
 * Extended attributes user.gptqfs.KEY of an inode. As the system calls: the size of the names (each with its NUL) or of
 * the value; with a `size` of 0 no more than that (and a little more where values grow), else they are written to out.
 * -ERANGE if they do not fit, -ENODATA for a name there is not.
 */
ssize_t status_list_attributes(const struct server *server, uint64_t ino, char *out, size_t size);
ssize_t status_get_attribute(const struct server *server, uint64_t ino, const char *name, char *out, size_t size);

#endif
