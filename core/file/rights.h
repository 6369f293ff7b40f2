/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_RIGHTS_H
#define GPTQFS_RIGHTS_H

/*
 * Who may read what. With allow_other, a mount is open to users who may lack access to the source, or to parts of it.
 * So the attributes shown never let a user read what that user could not read at the source, even if a file is computed
 * from several files, or a directory or link on the path to the source has no counterpart in the mount. If owner, group
 * and mode cannot express that exactly, they grant less; only the server's own user always keeps access.
 *
 * Permissions are those at the time the source was opened.
 */

#include <sys/stat.h>

#include "gptqfs.h"

/*
 * Clears the bits of st->st_mode that an access control list may deny: with a list, the mode is exact only for the
 * owner and an upper bound for everyone else.
 */
void rights_heed_acl(int fd, struct stat *st);

/* Restricts the read permission of `st` to what `other`, another file whose contents it shows, also allows. */
void rights_meet(struct stat *st, const struct stat *other);

/*
 * Restricts the read permission of `st`, the attributes of fd, to what the directories on its real path allow. `base`
 * and the directories above it are skipped: the mount shows them, or its root stands for them. NULL skips none. Returns
 * 0 or the code of err_system.
 */
int rights_reach(struct stat *st, int fd, const char *base, struct gptqfs_error *err);

/* Makes `st` accessible to the server's user only, if that user would otherwise have no access. */
void rights_settle(struct stat *st);

#endif
