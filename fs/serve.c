/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "channel.h"
#include "daemon.h"
#include "log.h"
#include "loop.h"
#include "pagecache.h"
#include "signals.h"
#include "status.h"

#define TRIM_MS 5000

struct state {
	struct serving *s;
	struct loop *loop; /* NULL if libfuse's own loop is used */
	pthread_t thread;  /* runs the loop; the caller's handles signals and frees memory */
	int result;        /* result of the loop */
	int signals;       /* signalfd */
	int null;          /* /dev/null */
	bool contact;      /* by the kernel */
	bool alone;        /* the helper is gone */
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
	if (write(st->s->server->event, "x", 1) < 0)
		return NULL;
	return NULL;
}

/* Once this succeeds, the mount is served. */
static int start_loop(struct state *st)
{
	const struct options *o = st->s->options;
	const struct loop_teams teams = o->erofs ? pagecache_teams() : o->teams;
	int rc;

	if (!o->clone_fd || o->single) {
		st->loop = loop_new(st->s->session, o->single || !o->max_threads ? 1 : o->max_threads, &teams);
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
	/* While files can be opened. */
	st->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	rc = sandbox_narrow(&st->s->sandbox, st->s->options) ? -EPERM : start_loop(st);
	if (rc)
		close(st->signals);
	return rc;
}

/* The mount is usable, and the helper has set it up. */
static void on_usable(struct state *st, unsigned readahead)
{
	const bool talk = st->s->options->foreground;

	st->s->server->readahead = readahead;
	if (!st->s->background)
		return;
	if (!talk)
		log_to_helper(st->s->channel);
	daemon_detach(st->null, talk);
	channel_send(st->s->channel, MESSAGE_DETACHED, 0, NULL);
}

/*
 * Without helper and deputy the server goes on in the background, until it is unmounted or told to exit. In the
 * foreground nothing waits for it any more. Returns true if the process must exit at once.
 */
static bool on_message(struct state *st)
{
	struct message m;

	if (channel_receive(st->s->channel, &m, NULL) == 1) {
		if (m.kind == MESSAGE_USABLE)
			on_usable(st, m.number);
		return false;
	}
	st->alone = true;
	return !st->s->background;
}

/* Returns true if the process must exit at once. */
static bool on_signal(struct state *st)
{
	struct signalfd_siginfo info;

	if (read(st->signals, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo != SIGUSR1)
		return channel_send(st->s->channel, MESSAGE_EXIT, 0, NULL) != 0;
	status_log(st->s->server);
	return false;
}

/* Returns true when the loop has ended. */
static bool on_event(struct state *st)
{
	char event;

	if (read(st->s->events, &event, 1) != 1)
		return false;
	if (event == 'i') {
		st->contact = true;
		channel_send(st->s->channel, MESSAGE_CONTACT, 0, NULL);
	}
	return event == 'x';
}

int serve(struct serving *s)
{
	struct state st = {.s = s};
	struct pollfd polls[3];
	int rc = start(&st);

	if (rc)
		return rc;
	polls[0] = (struct pollfd){.fd = st.signals, .events = POLLIN};
	polls[1] = (struct pollfd){.fd = s->events, .events = POLLIN};
	for (;;) {
		int n;

		polls[2] = (struct pollfd){.fd = st.alone ? -1 : s->channel, .events = POLLIN};
		n = poll(polls, 3, TRIM_MS);
		if (n == 0)
			gptqfs_trim(s->server->model);
		if (n > 0 && polls[0].revents && on_signal(&st))
			return 1;
		if (n > 0 && polls[2].revents && on_message(&st))
			return 1;
		if (n > 0 && polls[1].revents && on_event(&st))
			break;
	}
	pthread_join(st.thread, NULL);
	close(st.signals);
	loop_free(st.loop);
	if (st.result < 0)
		return st.result;
	if (!st.contact)
		return -ECONNREFUSED;
	channel_send(s->channel, MESSAGE_OVER, 0, NULL);
	return 0;
}
