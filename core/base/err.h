/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ERR_H
#define GPTQFS_ERR_H

#include "gptqfs.h"

struct text;

/*
 * Sets the text of *err (err may be NULL) and returns rc, so that a check and its message are one statement:
 *     return err_set(err, -EBADMSG, "%s: header of %llu bytes ...", name, n);
 * Names in a model file may hold anything, so unprintable characters become '?' (text_disarm).
 */
__attribute__((format(printf, 3, 4))) int err_set(struct gptqfs_error *err, int rc, const char *fmt, ...);

/* Reports lack of memory. Returns -ENOMEM. */
int err_memory(struct gptqfs_error *err);

/*
 * Reports a system call that failed with errno `error`. The text begins with the reason, so that a long path cannot
 * push it out, and ends with the remedy, if there is one. Returns -ENOENT, -ENOTDIR, -EACCES, -ENOMEM, -EMFILE or
 * -ENFILE for the same errno, and -EIO for any other: some would mean something else to the caller of gptqfs_open.
 */
__attribute__((format(printf, 3, 4))) int err_system(struct gptqfs_error *err, int error, const char *fmt, ...);

/*
 * Writes a text to a stream and frees it. Returns 0, -ENOMEM if the text has failed, or -EIO with "`what` cannot be
 * written".
 */
int err_write(struct gptqfs_error *err, struct text *text, FILE *out, const char *what);

#endif
