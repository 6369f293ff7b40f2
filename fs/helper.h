/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_HELPER_H
#define GPTQFS_HELPER_H

#include <stdbool.h>

/*
 * gptqfs as mount(8) runs it, by the name of mount.gptqfs or mount.fuse.gptqfs:
 *     mount.gptqfs SOURCE DIRECTORY [-sfnv] [-N namespace] [-o options] [-t type]
 * There -s is "sloppy" and -f is "fake", and not the options of that name.
 */

/* By the name it was called: "mount." and anything. */
bool helper_is(const char *program);

/*
 * Takes mount's own flags out of argv, in place. -s, -n, -v and -t change nothing. *fake is set by -f: mount nothing.
 * 0, or -EINVAL after having said why.
 */
int helper_arguments(int *argc, char **argv, bool *fake);

/* Is this a word of fstab that only mount(8) or systemd heeds, or one that is always so here ("rw", "x-...")? */
bool helper_ignores(const char *word);

#endif
