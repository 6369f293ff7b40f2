/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_MOUNT_HELPER_H
#define GPTQFS_MOUNT_HELPER_H

#include <stdbool.h>

/*
 * gptqfs run by mount(8), as mount.gptqfs or mount.fuse.gptqfs:
 *     mount.gptqfs SOURCE DIRECTORY [-sfnv] [-N namespace] [-o options] [-t type]
 * -s then means "sloppy" and -f "fake", unlike gptqfs's own options.
 */

/* True if the program's name begins with "mount.". */
bool mount_helper_is(const char *program);

/*
 * Removes mount's own flags from argv, in place. -s, -n, -v and -t are ignored; -f sets *fake: do not mount. Returns 0,
 * or -EINVAL after a message.
 */
int mount_helper_arguments(int *argc, char **argv, bool *fake);

/* True for an fstab option meant for mount(8) or systemd, or without effect here ("rw", "x-..."). */
bool mount_helper_ignores(const char *word);

#endif
