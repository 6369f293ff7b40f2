/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SANDBOX_H
#define GPTQFS_SANDBOX_H

#include <stdbool.h>

#include "options.h"

/*
 * Takes from the process that reads a model what it does not need: files other than those of the model, writing,
 * network, signals to others, programs, and most system calls. A model that exploits a bug gets no further than its own
 * bytes. The kernel does it by landlock (files, network, signals) and seccomp (system calls); either may be missing.
 */

struct sandbox {
	int landlock; /* ABI of landlock in force, 0 for none */
	bool seccomp;
	char text[160]; /* what is in force, for the user: "landlock 7, seccomp", or "none (why)" */
};

/*
 * Confines this process, which has no other threads yet, before the first byte of the model is read. With sandbox=yes
 * fails if something is missing. Returns 0, or -1 after a message.
 */
int sandbox_enter(struct sandbox *s, const struct options *o);

/* The model is open: gives up opening files as well. Call it before threads are started. Returns 0, or -1 as above. */
int sandbox_narrow(struct sandbox *s, const struct options *o);

#endif
