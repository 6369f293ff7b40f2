/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_RIGHTS_H
#define GPTQFS_RIGHTS_H

/*
 * Who may read what. With allow_other a mount is open to users who have no access to the source, or to other parts of
 * it. So the attributes shown give a file to no user who could not read it at the source: neither because it is
 * computed from several files, nor because a directory or a link on the way to it is not there in the mount. Where
 * owner, group and mode cannot say that exactly, they say less; only the server's own user always keeps access.
 *
 * Rights are those of the moment when the source was opened.
 */

#include <sys/stat.h>

#include "gptqfs.h"

/*
 * Takes from the mode of `st` whatever its access control list may deny: of the list, the mode tells only the owner's
 * part and an upper bound for the rest.
 */
void rights_heed_acl(int fd, struct stat *st);

/* Leaves to `st` the reading that `other`, one more file of which it shows something, allows as well. */
void rights_meet(struct stat *st, const struct stat *other);

/*
 * Leaves to `st`, of the open file or directory fd, the reading that directories on the way to it allow, links
 * followed. Those that are `base` or lead to it are left out: the mount shows them, or its root answers for them. NULL
 * leaves out none. Returns 0 or the code of err_system.
 */
int rights_reach(struct stat *st, int fd, const char *base, struct gptqfs_error *err);

/* Gives it to the server's user alone, if that user would have no access otherwise. */
void rights_settle(struct stat *st);

#endif
