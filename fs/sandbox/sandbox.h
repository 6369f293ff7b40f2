/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SANDBOX_H
#define GPTQFS_SANDBOX_H

#include <stdbool.h>

#include "options.h"

/*
 * Takes from the process that reads a model what it does not need: other files, writing, network, signals to others,
 * programs, and most system calls. A model that exploits a bug gets no further than its own bytes. Uses landlock
 * (files, network, signals) and seccomp (system calls); either may be missing.
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

/*
 * Gives up opening files as well, once the model is open. Call it before threads are started. Returns 0, or -1 as
 * above.
 */
int sandbox_narrow(struct sandbox *s, const struct options *o);

#endif
