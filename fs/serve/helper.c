/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "serve/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "serve/channel.h"
#include "serve/daemon.h"
#include "serve/deputy.h"
#include "log.h"
#include "mount/mountpoint.h"
#include "serve/pagecache.h"
#include "serve/preparation.h"
#include "signals.h"

#define NAME "gptqfs-helper"

struct state {
	struct helper *h;
	struct fuse_session *session;
	struct pagecache pagecache;
	struct deputy deputy;
	struct preparation preparation;
	bool preparing; /* it was started once */
	char *source;   /* the model: what the server sent */
	int signals, status, command;
	int server;    /* pidfd, or -1 in old kernels */
	bool promoted; /* this process was the deputy of a helper that was killed: the server is not its child */
	bool noted;    /* what was mounted at the path before */
	dev_t below;   /* its device, or 0 */
	dev_t dev;     /* of what is mounted now */
	bool mounted;  /* by this process, and not yet removed */
	bool usable, killed;
	/* Requests to exit: sent to this process, and told by the server. One sent to both is one request. */
	unsigned own, told;
	enum exit_code failure; /* why it was not mounted */
};

/* By its number, only a child is sure to be the same process still. */
static void signal_server(const struct state *st, int sig)
{
	if (st->server >= 0)
		syscall(SYS_pidfd_send_signal, st->server, sig, NULL, 0);
	else if (!st->promoted)
		kill(st->h->server, sig);
}

/* Options of every mount. Last, so that they override given ones. */
static int add_mount_options(struct options *o, const char *source)
{
	char *words = NULL, *name = NULL;
	int rc = -1;

	if (asprintf(&name, "fsname=%s", source) >= 0 &&
	    fuse_opt_add_opt(&words, "ro,nosuid,nodev,default_permissions,subtype=gptqfs") == 0 &&
	    (o->fsname || fuse_opt_add_opt_escaped(&words, name) == 0) && fuse_opt_add_arg(&o->fuse, "-o") == 0 &&
	    fuse_opt_add_arg(&o->fuse, words) == 0)
		rc = 0;
	free(words);
	free(name);
	return rc;
}

/* The server is ended; another one may be started, for FUSE. */
static void refuse_erofs(struct state *st, const char *reason)
{
	if (pagecache_fall_back(st->h->options, reason))
		st->h->again = true;
	else
		st->failure = EXIT_MOUNT;
	signal_server(st, SIGKILL);
}

static bool make_hidden_mount(struct state *st)
{
	struct gptqfs_error err;
	int device;

	if (pagecache_open(&st->pagecache, st->h->options, &device, &err)) {
		refuse_erofs(st, err.text);
		return false;
	}
	channel_send_descriptor(st->h->channel, device);
	close(device);
	return true;
}

/*
 * Passes the descriptor to the server, and keeps none: readers of a dead server would hang. libfuse gets a pipe without
 * a reader in its place: it closes that at the end and, because poll reports an error, considers its mount gone. With a
 * face, one is kept until all files are open.
 */
static void hand_over(struct state *st, int pipe)
{
	const int fd = fuse_session_fd(st->session);

	if (st->h->options->face)
		st->pagecache.device = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	/* A server that has died meanwhile is noticed by its end of the channel. */
	channel_send_descriptor(st->h->channel, fd);
	dup3(pipe, fd, O_CLOEXEC);
}

/* From the mount table: a call for the path itself could wait for a server. */
static void note_mounted(struct state *st)
{
	st->mounted = mountpoint_device(st->h->path, &st->dev) == 0;
}

static enum exit_code mount_session(struct state *st, const char *source)
{
	static const struct fuse_lowlevel_ops none;
	const struct helper *h = st->h;
	struct fuse_args args;
	int ends[2];

	if (add_mount_options(h->options, source)) {
		log_line("out of memory");
		return EXIT_SERVE;
	}
	/* A copy: another server may need them. */
	args = (struct fuse_args)FUSE_ARGS_INIT(h->options->fuse.argc, h->options->fuse.argv);
	st->session = fuse_session_new(&args, &none, sizeof(none), NULL);
	fuse_opt_free_args(&args);
	if (!st->session)
		return EXIT_USAGE;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		log_line("cannot make a pipe: %s", strerror(errno));
		return EXIT_SERVE;
	}
	close(ends[0]);
	if (fuse_session_mount(st->session, h->path)) {
		mountpoint_explain(h->path);
		close(ends[1]);
		return EXIT_MOUNT;
	}
	note_mounted(st);
	hand_over(st, ends[1]);
	close(ends[1]);
	return EXIT_OK;
}

static void end_server(struct state *st)
{
	st->killed = true;
	signal_server(st, SIGKILL);
}

/* Removes the mount. The server goes on until the last user is gone. */
static int detach(struct state *st)
{
	int rc;

	if (!st->mounted)
		return 0;
	st->mounted = false;
	rc = mountpoint_detach(st->h->path, st->dev);
	return rc == -ENOENT ? 0 : rc;
}

static void leave(struct state *st, unsigned *requests)
{
	int rc;

	if (++*requests > 1 || !st->usable) {
		end_server(st);
		return;
	}
	if (st->own + st->told > 1)
		return;
	rc = detach(st);
	if (rc == 0)
		return;
	log_line("%s cannot be detached (%s); exiting", st->h->path, strerror(-rc));
	end_server(st);
}

static void note_below(struct state *st)
{
	const int rc = mountpoint_device(st->h->path, &st->below);

	st->noted = rc == 0 || rc == -ENOENT;
}

/* Removes what was mounted by a process that died before it could report it. */
static void detach_unreported(const struct state *st)
{
	dev_t dev;

	if (st->noted && mountpoint_device(st->h->path, &dev) == 0 && dev != st->below)
		mountpoint_detach(st->h->path, dev);
}

/*
 * True in the deputy, when this process has been killed. There is one at all times: the one before ends when this
 * process or its new deputy says so.
 */
static bool post_deputy(struct state *st)
{
	struct deputy before = st->deputy;

	st->promoted = deputy_post(&st->deputy);
	deputy_dismiss(&before);
	if (st->promoted)
		prctl(PR_SET_NAME, NAME);
	return st->promoted;
}

/* The end of this process before the mount is usable is that of the mount and of the server. */
static void begin_mounting(struct state *st)
{
	note_below(st);
	if (!post_deputy(st))
		return;
	log_line("%s: the helper was killed before the mount was usable", st->h->path);
	signal_server(st, SIGKILL);
	detach_unreported(st);
	deputy_dismiss(&st->deputy);
	if (st->status >= 0)
		daemon_report(st->status, EXIT_SERVE);
	_exit(EXIT_SERVE);
}

/*
 * From now on a deputy goes on if this process is killed. In the foreground its end is that of the mount, as if by
 * SIGTERM.
 */
static void become_usable(struct state *st)
{
	st->usable = true;
	if (!post_deputy(st))
		return;
	log_line("%s: the helper was killed; its deputy goes on", st->h->path);
	if (st->h->status < 0)
		leave(st, &st->own);
}

static void on_opened(struct state *st, const char *source)
{
	if (st->source)
		return;
	begin_mounting(st);
	st->source = strdup(source);
	if (st->source && st->h->options->erofs && (!make_hidden_mount(st) || !st->h->options->face))
		return;
	if (!st->source)
		log_line("out of memory");
	st->failure = st->source ? mount_session(st, source) : EXIT_SERVE;
	if (st->failure != EXIT_OK)
		signal_server(st, SIGKILL);
}

/* A caller that waits is told only when the server holds nothing of it any more: on_detached. */
static void tell_usable(struct state *st, unsigned readahead)
{
	channel_send(st->h->channel, MESSAGE_USABLE, readahead, NULL);
	if (st->status < 0)
		become_usable(st);
}

/* True if the mount is gone before it could be prepared. */
static bool is_moot(const struct state *st)
{
	return st->h->options->face && !st->mounted;
}

static void on_prepared(struct state *st, const struct prepared *p)
{
	const struct options *o = st->h->options;

	if (o->erofs && p->rc) {
		if (!is_moot(st))
			refuse_erofs(st, p->err.text);
		return;
	}
	if (o->erofs && !o->face)
		note_mounted(st);
	else if (p->rc && p->rc != -ENOTSUP)
		log_line("%s: the mount does not respond: %s", st->h->path, strerror(-p->rc));
	tell_usable(st, p->readahead);
}

/* Waits for the child. */
static void finish_preparation(struct state *st, struct prepared *p)
{
	const struct options *o = st->h->options;

	if (!preparation_finish(&st->preparation, p) && o->erofs && !o->face)
		detach_unreported(st);
}

static void on_contact(struct state *st)
{
	const struct preparation_job job = {
	    st->h->options, st->h->path, st->source, &st->pagecache, st->h->channel, st->mounted ? st->dev : 0};
	int rc;

	if (st->preparing || !st->source)
		return;
	st->preparing = true;
	rc = preparation_start(&st->preparation, &job);
	if (rc) {
		log_line("cannot start a process: %s", strerror(-rc));
		st->failure = EXIT_SERVE;
		signal_server(st, SIGKILL);
		return;
	}
	pagecache_close(&st->pagecache);
}

/* The server then waits for the mounts behind a face to end, even if it has never told of contact. */
static void on_over(struct state *st)
{
	st->mounted = false;
	pagecache_close(&st->pagecache);
	preparation_end_files(&st->preparation);
}

static void on_detached(struct state *st)
{
	if (st->status < 0)
		return;
	daemon_leave(st->h->options->foreground);
	become_usable(st);
	if (st->status >= 0)
		daemon_report(st->status, EXIT_OK);
	st->status = -1;
}

static void on_signal(struct state *st)
{
	struct signalfd_siginfo info;

	if (read(st->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1)
		signal_server(st, SIGUSR1);
	else
		leave(st, &st->own);
}

/*
 * The command has ended. The launcher has detached the mount, and another one may be in its place; processes that the
 * command left behind may go on reading. If the launcher was killed, detaches the mount here.
 */
static void on_command(struct state *st)
{
	char byte;
	const ssize_t n = read(st->command, &byte, 1);

	close(st->command);
	st->command = -1;
	if (n != 1) {
		leave(st, &st->own);
		return;
	}
	st->mounted = false;
	st->own++;
}

/* Returns false if the server has ended. */
static bool on_message(struct state *st)
{
	struct message m;
	const int rc = channel_receive(st->h->channel, &m, NULL);

	if (rc <= 0)
		return rc == -EPROTO;
	if (m.kind == MESSAGE_OPENED)
		on_opened(st, m.text);
	else if (m.kind == MESSAGE_REFUSED && st->h->options->erofs && (!st->source || !st->preparing))
		refuse_erofs(st, m.text);
	else if (m.kind == MESSAGE_CONTACT)
		on_contact(st);
	else if (m.kind == MESSAGE_FILE)
		preparation_add_file(&st->preparation, m.text);
	else if (m.kind == MESSAGE_DETACHED)
		on_detached(st);
	else if (m.kind == MESSAGE_EXIT)
		leave(st, &st->told);
	else if (m.kind == MESSAGE_LINE)
		log_line("%s", m.text);
	else if (m.kind == MESSAGE_OVER)
		on_over(st);
	return true;
}

static void watch(struct state *st)
{
	struct pollfd polls[4];
	struct prepared prepared;

	for (;;) {
		polls[0] = (struct pollfd){.fd = st->signals, .events = POLLIN};
		polls[1] = (struct pollfd){.fd = st->h->channel, .events = POLLIN};
		polls[2] = (struct pollfd){.fd = st->command, .events = POLLIN};
		polls[3] = (struct pollfd){.fd = st->preparation.pipe, .events = POLLIN};
		if (poll(polls, 4, -1) <= 0)
			continue;
		if (polls[0].revents)
			on_signal(st);
		if (polls[2].revents)
			on_command(st);
		if (polls[3].revents) {
			finish_preparation(st, &prepared);
			on_prepared(st, &prepared);
		}
		if (polls[1].revents && !on_message(st))
			return;
	}
}

/* A child ends soon without a server, but what it says may be why that ended, or that it has mounted before. */
static void end_preparation(struct state *st)
{
	struct prepared p;

	if (st->preparation.pipe < 0)
		return;
	preparation_end_files(&st->preparation);
	finish_preparation(st, &p);
	if (!st->h->options->erofs || is_moot(st))
		return;
	if (p.rc == 0 && !st->h->options->face)
		note_mounted(st);
	else if (p.rc && !st->killed)
		refuse_erofs(st, p.err.text);
}

/* Returns how the server ended, or 0 if it is not a child of this process. */
static int end_and_wait(struct state *st)
{
	int how = 0;

	/* Unless it has exited: if it has only closed the channel, no signal to this process could end the wait. */
	signal_server(st, SIGKILL);
	end_preparation(st);
	while (waitpid(st->h->server, &how, 0) < 0 && errno == EINTR)
		;
	return how;
}

/* How the server ended, as an exit code, after a message if it was not by itself. */
static enum exit_code explain(const struct state *st, int how)
{
	const int sig = WIFSIGNALED(how) ? WTERMSIG(how) : 0;

	if (st->failure != EXIT_OK)
		return st->failure;
	if (st->promoted && st->mounted && !st->killed)
		log_line("%s: the server has died; the mount is removed", st->h->path);
	if (!sig)
		return (enum exit_code)WEXITSTATUS(how);
	if (st->usable && st->killed)
		return EXIT_OK;
	if (st->usable) {
		log_line("%s: the server was killed by signal %d; the mount is removed", st->h->path, sig);
		return EXIT_SERVE;
	}
	if (st->killed || sig == SIGTERM || sig == SIGINT || sig == SIGHUP) {
		/* In the foreground this is as later. Else the caller waits for a mount. */
		if (st->h->status < 0)
			return EXIT_OK;
		log_line("%s: told to exit before the mount was usable", st->h->path);
		return EXIT_MOUNT;
	}
	log_line("the server was killed by signal %d before the mount was usable", sig);
	return EXIT_SERVE;
}

enum exit_code helper_run(struct helper *h)
{
	struct state st = {.h = h,
	    .status = h->status,
	    .command = h->command,
	    .pagecache = PAGECACHE_NONE,
	    .preparation = PREPARATION_NONE,
	    .deputy = DEPUTY_NONE};
	enum exit_code code;
	sigset_t set;
	int how, rc;

	/* Its arguments are those of the server. */
	prctl(PR_SET_NAME, NAME);
	/* A log that nobody reads any more must not end the mount. */
	signal(SIGPIPE, SIG_IGN);
	st.server = (int)syscall(SYS_pidfd_open, h->server, 0);
	signals_of_server(&set);
	st.signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (st.signals < 0) {
		log_line("cannot wait for signals: %s", strerror(errno));
		st.failure = EXIT_SERVE;
	} else {
		watch(&st);
	}
	/* Or the server might wait for this. */
	pagecache_close(&st.pagecache);
	how = end_and_wait(&st);
	free(st.source);
	/* Not after a crash. The server may have ended by itself before it was killed. */
	h->again = h->again && !st.killed && (!WIFSIGNALED(how) || WTERMSIG(how) == SIGKILL);
	code = h->again ? EXIT_MOUNT : explain(&st, how);
	rc = detach(&st);
	if (rc && rc != -EBUSY)
		log_line("%s cannot be detached: %s", h->path, strerror(-rc));
	deputy_dismiss(&st.deputy);
	if (st.status >= 0 && !h->again)
		daemon_report(st.status, code);
	if (st.session) {
		/* Frees the path. */
		fuse_session_unmount(st.session);
		fuse_session_destroy(st.session);
	}
	close(st.signals);
	if (st.server >= 0)
		close(st.server);
	return code;
}
