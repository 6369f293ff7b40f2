/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_EXIT_H
#define GPTQFS_EXIT_H

/* Exit codes of gptqfs, unless it runs a command. Help and the man page list them. */
enum exit_code {
	EXIT_OK = 0,
	EXIT_USAGE = 1,       /* an option or argument is wrong */
	EXIT_NO_WEIGHTS = 2,  /* no readable weights */
	EXIT_BAD_WEIGHTS = 3, /* damaged, incomplete, unsupported format, or not quantized */
	EXIT_MOUNT = 4,       /* mounting or unmounting failed */
	EXIT_SERVE = 5,       /* serving failed, out of memory, I/O error */
};

#endif
