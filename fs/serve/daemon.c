/* SPDX-License-Identifier: MIT */
#include "serve/daemon.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"
#include "signals.h"

/* Closes open descriptors of the range, of which `foreign` keeps those that are marked close-on-exec. */
static void close_open(unsigned from, unsigned to, bool foreign)
{
	const long most = sysconf(_SC_OPEN_MAX);
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *entry;

	for (unsigned fd = from; !dir && (long)fd < most && fd <= to; fd++)
		if (!foreign || fcntl((int)fd, F_GETFD) == 0)
			close((int)fd);
	while (dir && (entry = readdir(dir))) {
		const int fd = atoi(entry->d_name);

		if ((unsigned)fd >= from && (unsigned)fd <= to && fd != dirfd(dir) &&
		    (!foreign || fcntl(fd, F_GETFD) == 0))
			close(fd);
	}
	if (dir)
		closedir(dir);
}

/* Also where the kernel has no close_range, or a sandbox forbids it. */
static void close_all(unsigned from, unsigned to)
{
	if (close_range(from, to, 0) < 0)
		close_open(from, to, false);
}

void daemon_close_inherited(int argc, char **argv)
{
	unsigned from = 3, next, named;

	do {
		next = UINT_MAX;
		for (int i = 1; i < argc; i++)
			if (sscanf(argv[i], "/dev/fd/%u", &named) == 1 && named >= from && named < next)
				next = named;
		if (next > from)
			close_all(from, next == UINT_MAX ? UINT_MAX : next - 1);
		from = next == UINT_MAX ? next : next + 1;
	} while (next != UINT_MAX);
}

void daemon_close_foreign(void)
{
	close_open(3, UINT_MAX, true);
}

int daemon_guard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDONLY);
	while (fd >= 0 && fd <= 2);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/* Passes signals to the child until it reports or dies. */
static void pass_signals(int status, pid_t child)
{
	struct signalfd_siginfo info;
	struct pollfd polls[2] = {{.fd = status, .events = POLLIN}};
	sigset_t set;

	signals_of_server(&set);
	polls[1] = (struct pollfd){.fd = signalfd(-1, &set, SFD_CLOEXEC), .events = POLLIN};
	do {
		if (poll(polls, 2, -1) < 0)
			continue;
		if (polls[1].revents && read(polls[1].fd, &info, sizeof(info)) == sizeof(info))
			kill(child, (int)info.ssi_signo);
	} while (!polls[0].revents);
	if (polls[1].fd >= 0)
		close(polls[1].fd);
}

static enum exit_code wait_for_child(int status, pid_t child)
{
	unsigned char code;
	ssize_t n;
	int how = 0;

	do
		n = read(status, &code, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		return code;
	waitpid(child, &how, 0);
	if (WIFSIGNALED(how))
		log_line("the server was killed by signal %d before the mount was usable", WTERMSIG(how));
	return EXIT_SERVE;
}

int daemon_start(struct daemon *d)
{
	int ends[2];
	pid_t child;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	child = fork();
	if (child < 0) {
		close(ends[0]);
		close(ends[1]);
		return -errno;
	}
	if (child > 0) {
		close(ends[1]);
		pass_signals(ends[0], child);
		d->side = DAEMON_PARENT;
		d->code = wait_for_child(ends[0], child);
		return 0;
	}
	close(ends[0]);
	d->side = DAEMON_CHILD;
	d->status = ends[1];
	return 0;
}

void daemon_detach(int null, bool talk)
{
	if (chdir("/") < 0)
		log_line("/: %s; the server keeps the current directory busy", strerror(errno));
	for (int fd = 0; null >= 0 && fd <= (talk ? 1 : 2); fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
}

void daemon_leave(bool talk)
{
	const int null = open("/dev/null", O_RDWR);

	if (!talk)
		log_to_syslog();
	if (null < 0)
		log_line("/dev/null: %s; the server keeps the caller's terminal", strerror(errno));
	setsid();
	daemon_detach(null, talk);
}

void daemon_report(int status, enum exit_code code)
{
	const unsigned char byte = (unsigned char)code;
	ssize_t n;

	/* The parent may be gone, or have been told by a process before this one. */
	do
		n = write(status, &byte, 1);
	while (n < 0 && errno == EINTR);
	close(status);
}
