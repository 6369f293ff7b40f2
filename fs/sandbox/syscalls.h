/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SYSCALLS_H
#define GPTQFS_SYSCALLS_H

/* The system calls that a confined process may make, as a seccomp filter. */

enum syscalls {
	SYSCALLS_TO_SERVE,  /* a model that is open */
	SYSCALLS_TO_OPEN,   /* it too */
	SYSCALLS_TO_EXPORT, /* to files too */
};

/*
 * Restricts this thread and those it starts. no_new_privs must be set. Other system calls fail with ENOSYS, for which
 * the C library has fallbacks. A second restriction only adds to the first. Returns 0 or -errno; -ENOTSUP on machines
 * whose system calls are not known here.
 */
int syscalls_restrict(enum syscalls which);

#endif
