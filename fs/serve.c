/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "serve.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"
#include "loop.h"
#include "mountpoint.h"
#include "signals.h"
#include "status.h"

#define TRIM_MS 5000

struct state {
	struct serving *s;
	struct loop *loop; /* NULL if libfuse's own loop is used */
	pthread_t thread;  /* runs the loop; the caller's handles signals and frees memory */
	int result;        /* result of the loop */
	int signals;       /* signalfd */
	dev_t dev;
	bool ready, leaving;
};

/* Only libfuse's own loop supports a descriptor per thread. */
static int run_libfuse(struct fuse_session *session, const struct options *o)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int rc;

	if (!config)
		return -ENOMEM;
	fuse_loop_cfg_set_clone_fd(config, 1);
	fuse_loop_cfg_set_max_threads(config, o->max_threads);
	if (o->max_idle_threads != (unsigned)-1)
		fuse_loop_cfg_set_idle_threads(config, o->max_idle_threads);
	rc = fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
	return rc;
}

static void *run(void *arg)
{
	struct state *st = arg;

	st->result = st->loop ? loop_run(st->loop) : run_libfuse(st->s->session, st->s->options);
	if (write(st->s->event, "x", 1) < 0)
		return NULL;
	return NULL;
}

/* Once this succeeds, the mount is served. */
static int start_loop(struct state *st)
{
	const struct options *o = st->s->options;
	int rc;

	if (!o->clone_fd || o->single) {
		st->loop =
		    loop_new(st->s->session, o->single || !o->max_threads ? 1 : o->max_threads, o->reader_threads);
		if (!st->loop)
			return -ENOMEM;
		st->s->server->loop = st->loop;
	}
	rc = pthread_create(&st->thread, NULL, run, st);
	if (rc)
		loop_free(st->loop);
	return -rc;
}

static int start(struct state *st)
{
	sigset_t set;
	int rc;

	signals_of_server(&set);
	signal(SIGPIPE, SIG_IGN);
	st->signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (st->signals < 0)
		return -errno;
	/* After the fork, because a driver's threads would not survive it. */
	gptqfs_accel_start(st->s->server->model);
	rc = start_loop(st);
	if (rc)
		close(st->signals);
	return rc;
}

/* The kernel has made contact: from now on the mount responds. */
static void on_contact(struct state *st)
{
	int rc = mountpoint_wait(st->s->mountpoint, &st->dev);

	if (rc == 0)
		st->s->server->readahead = mountpoint_readahead(st->dev, st->s->options->readahead);
	else if (rc != -ENOTSUP)
		log_line("%s: the mount does not respond: %s", st->s->mountpoint, strerror(-rc));
	st->ready = true;
	if (st->s->status >= 0)
		daemon_ready(st->s->status, 0, st->s->options->foreground);
	st->s->status = -1;
}

/*
 * Detaches the mount and keeps serving. Returns true if the process must exit at once: on a second request, if nothing
 * can have been opened yet, or if the mount cannot be detached.
 */
static bool leave(struct state *st)
{
	int rc;

	if (st->leaving)
		return true;
	st->leaving = true;
	if (!st->ready) {
		/* The device number is unknown, but nothing can have been mounted over it yet. */
		fuse_session_unmount(st->s->session);
		return true;
	}
	rc = mountpoint_detach(st->s->mountpoint, st->dev);
	if (rc)
		log_line("%s cannot be detached (%s); exiting", st->s->mountpoint, strerror(-rc));
	return rc != 0;
}

/* Returns true if the process must exit at once. */
static bool on_signal(struct state *st)
{
	struct signalfd_siginfo info;

	if (read(st->signals, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo != SIGUSR1)
		return leave(st);
	status_log(st->s->server);
	return false;
}

/*
 * The command has ended. The launcher has detached the mount, and another one may be in its place; processes that the
 * command left behind may go on reading. If the launcher was killed, detaches the mount here. Returns true as above.
 */
static bool on_command(struct state *st)
{
	char byte;
	const ssize_t n = read(st->s->command, &byte, 1);

	close(st->s->command);
	st->s->command = -1;
	if (n != 1)
		return leave(st);
	st->leaving = true;
	return false;
}

/* Returns true when the loop has ended. */
static bool on_event(struct state *st)
{
	char event;

	if (read(st->s->events, &event, 1) != 1)
		return false;
	if (event == 'i')
		on_contact(st);
	return event == 'x';
}

int serve(struct serving *s)
{
	struct state st = {.s = s};
	struct fuse_session *session = s->session;
	struct pollfd polls[3];
	int rc = start(&st);

	if (rc)
		return rc;
	polls[0] = (struct pollfd){.fd = st.signals, .events = POLLIN};
	polls[1] = (struct pollfd){.fd = s->events, .events = POLLIN};
	for (;;) {
		int n;

		polls[2] = (struct pollfd){.fd = s->command, .events = POLLIN};
		n = poll(polls, 3, TRIM_MS);
		if (n == 0)
			gptqfs_trim(s->server->model);
		if (n > 0 && polls[0].revents && on_signal(&st))
			return 1;
		if (n > 0 && polls[2].revents && on_command(&st))
			return 1;
		if (n > 0 && polls[1].revents && on_event(&st))
			break;
	}
	pthread_join(st.thread, NULL);
	close(st.signals);
	fuse_session_unmount(session);
	loop_free(st.loop);
	return st.result < 0 ? st.result : 0;
}
