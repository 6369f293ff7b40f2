/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_EXIT_H
#define GPTQFS_EXIT_H

/* Exit codes of gptqfs, but for a command's own. Help and the man page list them. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_USAGE = 1,       /* an option or argument is wrong */
	EXIT_NO_WEIGHTS = 2,  /* nothing readable as weights */
	EXIT_BAD_WEIGHTS = 3, /* damaged, incomplete, of a format not served, or not quantized */
	EXIT_MOUNT = 4,       /* the mount failed, or could not be taken away */
	EXIT_SERVE = 5,       /* serving failed, or the machine did: out of memory, I/O error */
};

#endif
