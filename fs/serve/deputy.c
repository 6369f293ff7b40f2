/* SPDX-License-Identifier: MIT */
#include "serve/deputy.h"

#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEPUTIES_MAX 16

/* A failure to wait says nothing about the helper, which goes on without a deputy. */
static void wait_for_death(int life)
{
	ssize_t n;
	char byte;

	prctl(PR_SET_NAME, "gptqfs-deputy");
	do
		n = recv(life, &byte, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n)
		_exit(n < 0);
	close(life);
}

bool deputy_post(struct deputy *d)
{
	bool promoted = false;
	int ends[2];

	/* Not forever: if the same cause kills each, each would start the next at once. */
	for (int left = DEPUTIES_MAX;; left--) {
		*d = (struct deputy)DEPUTY_NONE;
		if (left == 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
			return promoted;
		d->pid = fork();
		if (d->pid != 0) {
			close(ends[0]);
			d->life = ends[1];
			return promoted;
		}
		close(ends[1]);
		wait_for_death(ends[0]);
		promoted = true;
	}
}

void deputy_dismiss(struct deputy *d)
{
	if (d->life >= 0) {
		send(d->life, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		close(d->life);
	}
	/* One that does not read that, because it is stopped. It may also be the child of a process that has died. */
	if (d->pid > 0 && waitpid(d->pid, NULL, WNOHANG) == 0) {
		kill(d->pid, SIGKILL);
		while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	*d = (struct deputy)DEPUTY_NONE;
}
