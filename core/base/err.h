/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ERR_H
#define GPTQFS_ERR_H

#include "gptqfs.h"

/*
 * Sets the text of *err (err may be NULL) and returns rc, so that a check and its message are one statement:
 *     return err_set(err, -EBADMSG, "%s: header of %llu bytes ...", name, n);
 * Control characters, which may come from names in a model file, are replaced by '?': the text goes to a terminal.
 */
__attribute__((format(printf, 3, 4))) int err_set(struct gptqfs_error *err, int rc, const char *fmt, ...);

/* The same for memory that could not be had. Returns -ENOMEM. */
int err_memory(struct gptqfs_error *err);

#endif
