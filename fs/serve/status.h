/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_STATUS_H
#define GPTQFS_STATUS_H

#include "serve/server.h"

/* The state of a running server: the file `status`, extended attributes and a line in the log. Any thread. */

/* A snapshot, which does not change while it is read. */
struct snapshot {
	size_t len;
	char text[];
};

/* Sets the server's start time. */
void status_start(struct server *server);

/* Returns the current text of `status`, which the caller frees; NULL if out of memory. */
struct snapshot *status_snapshot(const struct server *server);

/* Logs the same as one line. */
void status_log(const struct server *server);

/*
 * Reports the facts about an inode that never change, for an image: a gptqfs_image_options.tell, whose ctx is the
 * server.
 */
int status_tell_constants(const void *ctx, uint64_t ino, gptqfs_fact_fn *fn, void *fn_ctx);

/*
 * Extended attributes user.gptqfs.KEY of an inode. Like the system calls, both return the size of the names, each with
 * its NUL, or of the value; if `size` is not 0 they also write that to `out`. -ERANGE if they do not fit, -ENODATA for
 * an unknown name. Numbers of the root are padded with blanks to a fixed size.
 */
ssize_t status_list_attributes(const struct server *server, uint64_t ino, char *out, size_t size);
ssize_t status_get_attribute(const struct server *server, uint64_t ino, const char *name, char *out, size_t size);

#endif
