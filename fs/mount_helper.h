/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MOUNT_HELPER_H
#define GPTQFS_MOUNT_HELPER_H

#include <stdbool.h>

/*
 * gptqfs as mount(8) runs it, under the name mount.gptqfs or mount.fuse.gptqfs:
 *     mount.gptqfs SOURCE DIRECTORY [-sfnv] [-N namespace] [-o options] [-t type]
 * There -s means "sloppy" and -f "fake", not the options of that name.
 */

/* True if the program was called "mount." and anything. */
bool mount_helper_is(const char *program);

/*
 * Takes mount's own flags out of argv, in place. -s, -n, -v and -t change nothing; -f sets *fake: mount nothing.
 * Returns 0, or -EINVAL after a message.
 */
int mount_helper_arguments(int *argc, char **argv, bool *fake);

/* True for a word of fstab that only mount(8) or systemd heeds, or that changes nothing here ("rw", "x-..."). */
bool mount_helper_ignores(const char *word);

#endif
