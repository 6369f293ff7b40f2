/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MOUNTPOINT_H
#define GPTQFS_MOUNTPOINT_H

#include <stdbool.h>
#include <sys/types.h>

/* The place where a model is mounted, and what can be asked of the kernel about it. */

/* "/dev/fd/N", by which mount.fuse3 hands over a session that it has mounted itself. */
bool mountpoint_is_descriptor(const char *path);

/*
 * Can something be mounted there? 0 and *path the canonical path (caller frees; "/dev/fd/N" stays as it is), or, after
 * having said why not and what helps: -EINVAL for a bad argument, -ENOTCONN for a stale mount, -EACCES.
 */
int mountpoint_check(const char *given, char **path);

/* Says why a mount at `path` most likely failed, and what helps. */
void mountpoint_explain(const char *path);

/*
 * Waits until the mount answers, and finds its device number. 0 or -errno; -ENOTSUP for "/dev/fd/N", where whoever gave
 * us the descriptor knows the path and we do not. Not from a thread that serves the mount.
 */
int mountpoint_wait(const char *path, dev_t *dev);

/* Raises readahead to `kib`; where that is not allowed, says how somebody else may do it. Returns what it is then, in
 * KiB, or 0 if that is not known. */
unsigned mountpoint_readahead(dev_t dev, unsigned kib);

/*
 * Takes the mount away from its path while whoever uses it keeps it (umount -l), unless something else was mounted
 * there since. 0 or -errno.
 */
int mountpoint_detach(const char *path, dev_t dev);

#endif
