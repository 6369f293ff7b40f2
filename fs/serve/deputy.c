/* SPDX-License-Identifier: MIT */
#include "serve/deputy.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

/* A failure to wait says nothing about the helper, which goes on without a deputy. */
static void wait_for_death(int pipe)
{
	ssize_t n;
	char byte;

	prctl(PR_SET_NAME, "gptqfs-deputy");
	do
		n = read(pipe, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		_exit(1);
	close(pipe);
}

bool deputy_post(struct deputy *d, int report)
{
	bool promoted = false;
	int ends[2];

	for (;;) {
		*d = (struct deputy)DEPUTY_NONE;
		if (pipe2(ends, O_CLOEXEC) < 0)
			return promoted;
		d->pid = fork();
		if (d->pid != 0) {
			close(ends[0]);
			d->life = ends[1];
			return promoted;
		}
		close(ends[1]);
		if (report >= 0)
			close(report);
		report = -1;
		wait_for_death(ends[0]);
		promoted = true;
	}
}

void deputy_dismiss(struct deputy *d)
{
	if (d->pid > 0) {
		kill(d->pid, SIGKILL);
		while (waitpid(d->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (d->life >= 0)
		close(d->life);
	*d = (struct deputy)DEPUTY_NONE;
}
