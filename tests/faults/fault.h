/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FAULT_H
#define GPTQFS_FAULT_H

/*
 * C library calls that fail on demand. A program linked with wrap.c and --wrap (see tests.mk) counts its calls by
 * class, and the n-th call of a class, or all from the n-th, fails with the given error.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum fault_class {
	FAULT_NONE,
	FAULT_ALLOC,  /* malloc, calloc, realloc, and functions that allocate inside */
	FAULT_OPEN,   /* open, openat, openat2, fopen */
	FAULT_STAT,   /* fstat, fstatat, stat, access, realpath, readlinkat */
	FAULT_LIST,   /* readdir */
	FAULT_READ,   /* read, pread */
	FAULT_MAP,    /* mmap */
	FAULT_THREAD, /* pthread_create */
	FAULT_WRITE,  /* write, pwrite, pwritev, ftruncate; of files and pipes */
	FAULT_NAME,   /* mkdir, mkdirat, renameat, unlinkat, fchmod, flock */
	FAULT_SYNC,   /* fsync, syncfs */
	FAULT_CLASSES
};

#define FAULT_HALF 0 /* as an error: FAULT_READ and FAULT_WRITE transfer half of the bytes */

/* In shared memory if another process is in control (live.py knows the offsets). */
struct faults {
	_Atomic int32_t active; /* calls count */
	_Atomic int32_t class;  /* class of the calls that fail */
	_Atomic int32_t error;
	_Atomic int32_t always; /* all calls from `at`, not only that one */
	_Atomic int64_t at;     /* the first call is 1 */
	_Atomic int64_t hits;
	_Atomic int64_t calls[FAULT_CLASSES];
	_Atomic int64_t blocks, mapped; /* blocks and mapped bytes not freed */
};

/* The faults of this process: its own, or those in the file named by GPTQFS_FAULTS. */
extern struct faults *faults;

#endif
