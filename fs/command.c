/* SPDX-License-Identifier: MIT */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve/daemon.h"
#include "log.h"
#include "signals.h"

static void held_signals(sigset_t *set)
{
	static const int held[] = {SIGCHLD, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};

	sigemptyset(set);
	for (size_t i = 0; i < sizeof(held) / sizeof(*held); i++)
		sigaddset(set, held[i]);
}

int command_prepare(struct command *c)
{
	sigset_t set;

	if (pipe2(c->ends, O_CLOEXEC) < 0)
		return -errno;
	held_signals(&set);
	sigprocmask(SIG_BLOCK, &set, &c->caller);
	return 0;
}

int command_serve(struct command *c)
{
	sigset_t mask, server;

	close(c->ends[1]);
	daemon_close_foreign();
	signals_of_server(&server);
	sigorset(&mask, &c->caller, &server);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	return c->ends[0];
}

void command_over(const struct command *c)
{
	/* If the mount is gone, the helper may have exited already. */
	signal(SIGPIPE, SIG_IGN);
	if (write(c->ends[1], "o", 1) < 0 && errno != EPIPE)
		log_line("the server cannot be told that the command has ended: %s", strerror(errno));
}

static const char *temporary_directory(void)
{
	static const char *const variables[] = {"XDG_RUNTIME_DIR", "TMPDIR"};

	for (size_t i = 0; i < sizeof(variables) / sizeof(*variables); i++) {
		const char *dir = getenv(variables[i]);

		if (dir && *dir && access(dir, W_OK | X_OK) == 0)
			return dir;
	}
	return "/tmp";
}

char *command_make_mountpoint(void)
{
	char *path, *canonical;

	if (asprintf(&path, "%s/gptqfs.XXXXXX", temporary_directory()) < 0)
		return NULL;
	canonical = mkdtemp(path) ? realpath(path, NULL) : NULL;
	free(path);
	return canonical;
}

/* Returns a copy of `text` with `path` in place of each {}, or NULL. */
static char *fill_in(const char *text, const char *path)
{
	char *filled = NULL;
	size_t size;
	FILE *out = open_memstream(&filled, &size);
	const char *gap;

	if (!out)
		return NULL;
	for (; (gap = strstr(text, "{}")); text = gap + 2)
		fprintf(out, "%.*s%s", (int)(gap - text), text, path);
	fputs(text, out);
	if (fclose(out)) {
		free(filled);
		return NULL;
	}
	return filled;
}

int command_tell_mountpoint(struct command *c, const char *path)
{
	size_t count = 0;
	char **argv;

	while (c->argv[count])
		count++;
	argv = calloc(count + 1, sizeof(*argv));
	if (!argv || setenv("GPTQFS_MOUNTPOINT", path, 1) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		if (!(argv[i] = fill_in(c->argv[i], path)))
			return -ENOMEM;
	c->argv = argv;
	return 0;
}

static int start(const struct command *c, pid_t *pid)
{
	posix_spawnattr_t attr;
	int rc = posix_spawnattr_init(&attr);

	if (rc)
		return rc;
	rc = posix_spawnattr_setsigmask(&attr, &c->caller);
	if (rc == 0)
		rc = posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
	if (rc == 0)
		rc = posix_spawnp(pid, c->argv[0], NULL, &attr, c->argv, environ);
	posix_spawnattr_destroy(&attr);
	return rc;
}

/* A signal from the kernel comes from the terminal: the whole foreground group got it, including the command. */
static void pass_on(const siginfo_t *info, pid_t pid)
{
	if (info->si_code != SI_KERNEL)
		kill(pid, info->si_signo);
}

static int wait_for(pid_t pid)
{
	siginfo_t info;
	sigset_t set;
	int status;

	held_signals(&set);
	for (;;) {
		pid_t done = waitpid(pid, &status, WNOHANG);

		if (done == pid)
			return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
		if (done < 0 && errno != EINTR)
			return 126;
		if (sigwaitinfo(&set, &info) > 0 && info.si_signo != SIGCHLD)
			pass_on(&info, pid);
	}
}

int command_run(struct command *c)
{
	pid_t pid;
	int rc;

	close(c->ends[0]);
	/* No more files are opened here. */
	setrlimit(RLIMIT_NOFILE, &c->files);
	rc = start(c, &pid);
	if (rc) {
		log_line("%s: %s", c->argv[0], strerror(rc));
		return rc == ENOENT ? 127 : 126;
	}
	return wait_for(pid);
}
