/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_BENEATH_H
#define GPTQFS_BENEATH_H

/* openat2 for systems without it: Linux before 5.6, gVisor, some sandboxes and emulators. */

#include <linux/openat2.h>

/*
 * Opens a file whose name is resolved below `dirfd`, as openat2 does with RESOLVE_BENEATH, and RESOLVE_NO_SYMLINKS if
 * that is in how->resolve. No rename and no exchange of a directory for a link leads outside. Returns the descriptor,
 * or -1 with errno set: EXDEV if the name leads outside, ELOOP for a link that is not allowed.
 */
int beneath_open(int dirfd, const char *name, const struct open_how *how);

#endif
