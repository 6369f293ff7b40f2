/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_STATUS_H
#define GPTQFS_STATUS_H

#include "server.h"

/* What a running server tells about itself: the file `status`, extended attributes and a line in the log. Any thread.
 */

/* A text that does not change while it is read. */
struct snapshot {
	size_t len;
	char text[];
};

/* Notes that the server starts now. */
void status_start(struct server *server);

/* Returns `status` as it is now, which the caller frees; NULL if out of memory. */
struct snapshot *status_snapshot(const struct server *server);

/* Writes the same to the log, on one line. */
void status_log(const struct server *server);

/*
 * Extended attributes user.gptqfs.KEY of an inode. As the system calls: return the size of the names, each with its
 * NUL, or of the value, and with a `size` other than 0 also write them to `out`. -ERANGE if they do not fit, -ENODATA
 * for an unknown name. Numbers of the root are padded with blanks to one width, so that their size never changes.
 */
ssize_t status_list_attributes(const struct server *server, uint64_t ino, char *out, size_t size);
ssize_t status_get_attribute(const struct server *server, uint64_t ino, const char *name, char *out, size_t size);

#endif
