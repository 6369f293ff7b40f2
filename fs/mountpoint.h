/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MOUNTPOINT_H
#define GPTQFS_MOUNTPOINT_H

#include <stdbool.h>
#include <sys/types.h>

/* The place where a model is mounted, and what can be asked of the kernel about it. */

/* True for "/dev/fd/N": mount.fuse3 hands over a session that it has mounted itself. */
bool mountpoint_is_descriptor(const char *path);

/*
 * Checks that something can be mounted there. Returns 0 and in *path the canonical path (caller frees; "/dev/fd/N"
 * stays as it is), or after a message with the remedy -EINVAL for a bad argument, -ENOTCONN for a stale mount, -EACCES.
 */
int mountpoint_check(const char *given, char **path);

/* True if this is a directory with the files of a model, and so probably no mountpoint. */
bool mountpoint_holds_model(const char *given);

/* Says why a mount at `path` most likely failed, and the remedy. */
void mountpoint_explain(const char *path);

/*
 * Waits until the mount answers, and finds its device number. Returns 0 or -errno; -ENOTSUP for "/dev/fd/N", whose path
 * only the program that opened it knows. Not to be called by a thread that serves the mount.
 */
int mountpoint_wait(const char *path, dev_t *dev);

/* Raises readahead to `kib`, or says how root can. Returns what it then is in KiB, 0 if not known. */
unsigned mountpoint_readahead(dev_t dev, unsigned kib);

/*
 * Detaches the mount from its path while open files stay readable (umount -l), unless something else was mounted there
 * since. Returns 0 or -errno.
 */
int mountpoint_detach(const char *path, dev_t dev);

/* Unmounts what gptqfs has mounted at `given`, a stale mount too. Returns 0, or -errno after a message. */
int mountpoint_unmount(const char *given);

#endif
