/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_COMMAND_H
#define GPTQFS_COMMAND_H

#include <signal.h>
#include <sys/resource.h>

/*
 * gptqfs MODEL MOUNTPOINT -- COMMAND ARG...: a program that runs while the model is mounted. It has the descriptors,
 * terminal, signal mask and limits that gptqfs was given. This process, the launcher, waits and passes signals on;
 * another one serves.
 */
struct command {
	char *const *argv;   /* NULL-terminated, or NULL: no command */
	struct rlimit files; /* the caller's RLIMIT_NOFILE */
	sigset_t caller;     /* the caller's signal mask */
	int ends[2];         /* a pipe by which the launcher tells the server that the command is over */
};

/*
 * From now on signals wait for the command. Call it before there is a mount that they could leave behind. Returns 0 or
 * -errno.
 */
int command_prepare(struct command *c);

/*
 * In the server: undoes that but for signals_of_server, which stay blocked, and closes the caller's descriptors.
 * Returns a descriptor to read one byte from when the launcher has detached the mount, or the end of the file if it
 * was killed before.
 */
int command_serve(struct command *c);

/*
 * Runs it, and returns what a shell would have as $?: its exit status, 128 + the signal that killed it, 127 if there is
 * no such program, 126 if it cannot be run. Signals sent to the launcher are passed on; those of the terminal (Ctrl-C)
 * reach the command by themselves.
 */
int command_run(struct command *c);

/* Tells the server that the mount is detached, or cannot be. */
void command_over(const struct command *c);

#endif
