/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MOUNTPOINT_H
#define GPTQFS_MOUNTPOINT_H

#include <stdbool.h>
#include <sys/types.h>

/* The mountpoint: checking it, explaining failures, settings of the mount, and unmounting. */

/* True for "/dev/fd/N", by which mount.fuse3 passes a session that it has already mounted. */
bool mountpoint_is_descriptor(const char *path);

/*
 * Checks that something can be mounted there. Returns 0 and in *path the canonical path, which the caller frees
 * ("/dev/fd/N" is kept). On failure prints a message with the remedy and returns -EINVAL for a bad argument, -ENOTCONN
 * for a stale mount, or -EACCES.
 */
int mountpoint_check(const char *given, char **path);

/*
 * True if the topmost mount there already shows the model in directory `source`. `mount -a` mounts a line of fstab
 * again if its source differs from that of the mount: EROFS's has a prefix, and a cache entry is mounted as its
 * snapshot.
 */
bool mountpoint_shows(const char *given, const char *source);

/* True for a directory with the files of a model, probably given instead of a mountpoint. */
bool mountpoint_holds_model(const char *given);

/* Prints why a mount at `path` most likely failed, and the remedy. */
void mountpoint_explain(const char *path);

/*
 * Finds the device number of the mount at `path`, which need not respond. Returns 0 or -errno; -ENOTSUP for
 * "/dev/fd/N", whose path only the program that opened it knows.
 */
int mountpoint_device(const char *path, dev_t *dev);

/*
 * Waits until the mount responds, which may be forever, and finds its device number. Returns 0 or -errno, -ENOTSUP as
 * above.
 */
int mountpoint_wait(const char *path, dev_t *dev);

/* Raises readahead to `kib`, or prints how root can. Returns the resulting readahead in KiB, 0 if unknown. */
unsigned mountpoint_readahead(dev_t dev, unsigned kib);

/* Detaches the mount (umount -l; open files stay readable), unless another one is there now. Returns 0 or -errno. */
int mountpoint_detach(const char *path, dev_t dev);

/* Unmounts a gptqfs mount at `given`, even a stale one. Returns 0, or -errno after a message. */
int mountpoint_unmount(const char *given);

#endif
