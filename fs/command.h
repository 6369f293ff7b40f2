/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_COMMAND_H
#define GPTQFS_COMMAND_H

#include <signal.h>

/*
 * gptqfs MODEL MOUNTPOINT -- COMMAND ARG...: a program that runs while the model is mounted. It has the descriptors,
 * the terminal and the signal mask that gptqfs was given. This process serves nothing; it waits, and passes signals on.
 */
struct command {
	char *const *argv; /* NULL-terminated, or NULL: no command */
	sigset_t caller;   /* the signal mask it will have */
	int ends[2];       /* a pipe by which who waits tells who serves that it is over */
};

/*
 * From now on signals wait for the command. To be called before there is a mount that they could leave behind. 0 or
 * -errno.
 */
int command_prepare(struct command *c);

/*
 * In the process that serves: undoes that, and closes the caller's descriptors. Returns a descriptor from which one
 * byte comes when the mount was detached, or the end of the file if the process that waits was killed before.
 */
int command_serve(struct command *c);

/*
 * Runs it, and returns what a shell would have as $?: its exit status, 128 + the signal that killed it, 127 if there is
 * no such program, 126 if it cannot be run. Signals sent to this process are passed on; those of the terminal (Ctrl-C)
 * reach the command by themselves.
 */
int command_run(struct command *c);

/* Tells the process that serves that the mount is detached, as far as it could be. */
void command_over(const struct command *c);

#endif
