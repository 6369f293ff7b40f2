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
};

/* From now on signals wait for the command. To be called before there is a mount that they could leave behind. */
void command_hold_signals(struct command *c);
/* Undoes that, in the process that serves. */
void command_release_signals(const struct command *c);

/*
 * Runs it, and returns what a shell would have as $?: its exit status, 128 + the signal that killed it, 127 if there is
 * no such program, 126 if it cannot be run. Signals sent to this process are passed on; those of the terminal (Ctrl-C)
 * reach the command by themselves.
 */
int command_run(const struct command *c);

#endif
