/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "serve/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "serve/channel.h"
#include "serve/daemon.h"
#include "serve/face.h"
#include "log.h"
#include "serve/loop.h"
#include "serve/pagecache.h"
#include "signals.h"
#include "serve/status.h"

#define TRIM_MS 5000

/* A session being served. */
struct run {
	const struct options *options;
	struct fuse_session *session;
	struct server *server;
	struct loop *loop; /* NULL if libfuse's own loop is used */
	pthread_t thread;  /* runs the loop; the caller's handles signals and frees memory */
	int result;        /* result of the loop */
	bool tells;        /* when the loop has ended */
};

struct state {
	struct serving *s;
	struct run run, behind;
	int signals;       /* signalfd */
	int null;          /* /dev/null */
	unsigned contacts; /* by the kernel */
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
	struct run *r = arg;

	r->result = r->loop ? loop_run(r->loop) : run_libfuse(r->session, r->options);
	if (r->tells && write(r->server->event, "x", 1) < 0)
		return NULL;
	return NULL;
}

static int start_loop(struct run *r)
{
	const struct options *o = r->options;
	const struct loop_teams teams = r->server->image ? pagecache_teams() : o->teams;
	int rc;

	if (!o->clone_fd || o->single) {
		r->loop = loop_new(r->session, o->single || !o->max_threads ? 1 : o->max_threads, &teams);
		if (!r->loop)
			return -ENOMEM;
		r->server->loop = r->loop;
	}
	rc = pthread_create(&r->thread, NULL, run, r);
	if (rc)
		loop_free(r->loop);
	return -rc;
}

/* Once this succeeds, the mount is served. */
static int start_loops(struct state *st)
{
	struct serving *s = st->s;
	int rc = 0;

	st->run = (struct run){.options = s->options, .session = s->session, .server = s->server, .tells = true};
	st->behind = (struct run){.options = s->options, .session = s->behind, .server = &s->server_behind};
	if (s->behind)
		rc = start_loop(&st->behind);
	return rc ? rc : start_loop(&st->run);
}

/* The session is over. What is behind a face ends when that is closed, by the helper too. */
static void end_behind(struct state *st)
{
	fuse_session_destroy(st->s->session);
	st->s->session = NULL;
	pthread_join(st->behind.thread, NULL);
	loop_free(st->behind.loop);
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
	rc = sandbox_narrow(&st->s->sandbox, st->s->options) ? -EPERM : start_loops(st);
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
		else if (m.kind == MESSAGE_BACKED && st->s->server->face)
			channel_send(st->s->channel, MESSAGE_FILE, 0, face_next(st->s->server->face, (int)m.number));
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

static void on_contact(const struct state *st)
{
	if (st->s->behind && !face_is_possible(st->s->server->face))
		channel_send(st->s->channel, MESSAGE_REFUSED, 0, "this kernel has no FUSE passthrough");
	else
		channel_send(st->s->channel, MESSAGE_CONTACT, 0, NULL);
}

/* Returns true when the loop has ended. */
static bool on_event(struct state *st)
{
	char event;

	if (read(st->s->events, &event, 1) != 1)
		return false;
	if (event == 'i' && ++st->contacts == (st->s->behind ? 2 : 1))
		on_contact(st);
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
	pthread_join(st.run.thread, NULL);
	close(st.signals);
	loop_free(st.run.loop);
	if (st.run.result < 0)
		return st.run.result;
	if (!st.contacts)
		return -ECONNREFUSED;
	channel_send(s->channel, MESSAGE_OVER, 0, NULL);
	if (s->behind)
		end_behind(&st);
	return 0;
}
