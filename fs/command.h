/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_COMMAND_H
#define GPTQFS_COMMAND_H

#include <signal.h>
#include <sys/resource.h>

/*
 * gptqfs MODEL [MOUNTPOINT] -- COMMAND ARG...: a program that runs while the model is mounted, with the descriptors,
 * terminal, signal mask and limits of gptqfs's caller. This process, the launcher, waits and forwards signals; others
 * mount and serve.
 */
struct command {
	char *const *argv;   /* NULL-terminated, or NULL for no command */
	struct rlimit files; /* the caller's RLIMIT_NOFILE */
	sigset_t caller;     /* the caller's signal mask */
	int ends[2];         /* pipe by which the launcher tells the helper that the command has ended */
};

/*
 * Blocks signals until the command runs. Call it before mounting, or one could leave a stale mount. Returns 0 or
 * -errno.
 */
int command_prepare(struct command *c);

/*
 * In the helper, before it starts the server: unblocks signals except signals_of_server, and closes the caller's
 * descriptors. Returns a descriptor that yields one byte when the launcher has detached the mount, or end of file if it
 * was killed before that.
 */
int command_serve(struct command *c);

/*
 * Runs the command and returns its status as a shell does: its exit status, 128 + the signal that killed it, 127 if
 * there is no such program, 126 if it cannot be run. Forwards signals sent to the launcher, except those from the
 * terminal (Ctrl-C), which the command gets anyway.
 */
int command_run(struct command *c);

/*
 * Makes an empty directory for a mount that only the command uses, in $XDG_RUNTIME_DIR, $TMPDIR or /tmp. Returns its
 * path, which the caller frees, or NULL with errno set.
 */
char *command_make_mountpoint(void);

/*
 * Tells the command where that mount is: in the variable GPTQFS_MOUNTPOINT, and in place of each {} in its arguments.
 * Call it in the launcher, which exits with the command; nothing is freed. Returns 0 or -ENOMEM.
 */
int command_tell_mountpoint(struct command *c, const char *path);

/* Tells the helper that the mount was detached, or could not be. */
void command_over(const struct command *c);

#endif
