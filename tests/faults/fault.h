/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FAULT_H
#define GPTQFS_FAULT_H

/*
 * Calls into the C library that fail on demand. A program linked with wrap.c and --wrap (see the Makefile) counts its
 * calls by class, and the n-th of one class, or all from the n-th on, fails with the given error.
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
	FAULT_CLASSES
};

#define FAULT_HALF 0 /* as an error: FAULT_READ transfers half of what was asked for */

/* In shared memory where another process gives the orders (live.py knows the offsets). */
struct faults {
	_Atomic int32_t active; /* calls count */
	_Atomic int32_t class;  /* of the calls that fail */
	_Atomic int32_t error;
	_Atomic int32_t always; /* from `at` on, not only then */
	_Atomic int64_t at;     /* the first call is 1 */
	_Atomic int64_t hits;
	_Atomic int64_t calls[FAULT_CLASSES];
	_Atomic int64_t blocks, mapped; /* blocks and mapped bytes that were not given back */
};

/* The orders of this process: its own, or the file that GPTQFS_FAULTS names. */
extern struct faults *faults;

#endif
