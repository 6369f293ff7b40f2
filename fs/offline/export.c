/* SPDX-License-Identifier: MIT */
#include "offline/export.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "exit.h"
#include "log.h"
#include "progress.h"
#include "signals.h"
#include "size.h"
#include "offline/target.h"
#include "offline/workers.h"

/* What a thread does at a time. */
#define PIECE ((uint64_t)16 << 20)
/* Of more files than this, only the large ones are synced one by one. */
#define SYNC_EACH_MAX 1000

enum action { ACTION_WRITE, ACTION_VERIFY };

/* The state of a file. */
struct output {
	int fd;        /* -1 while it is not open */
	unsigned left; /* pieces not done yet */
	uint64_t held; /* bytes of it that were there, and are compared before they are written */
};

struct export
{
	const struct export_request *request;
	struct target *target;
	struct entries entries;
	struct output *outputs; /* [entries.count] */
	enum action action;
	enum entry_turn turn;
	bool sync_each;
	pthread_mutex_t lock; /* of what follows */
	size_t next;          /* the file of which the next piece is */
	uint64_t next_at;     /* where it begins */
	int failed;           /* 0, or the first error */
	const char *failed_at;
	size_t failed_entry;
	atomic_uint_fast64_t done;
	atomic_size_t whole; /* files that got their names */
	atomic_bool stop;
	bool complete;
	int event; /* eventfd: the export has ended */
};

/* A part of a file. */
struct piece {
	size_t entry;
	uint64_t at, end;
	int fd;
};

/* Keeps the first failure, and stops all threads. The lock is held. */
static void fail_locked(struct export *x, size_t entry, const char *what, int rc)
{
	if (!x->failed) {
		x->failed = rc;
		x->failed_at = what;
		x->failed_entry = entry;
	}
	atomic_store(&x->stop, true);
}

static void fail(struct export *x, size_t entry, const char *what, int rc)
{
	pthread_mutex_lock(&x->lock);
	fail_locked(x, entry, what, rc);
	pthread_mutex_unlock(&x->lock);
}

/* ---- pieces ---- */

static uint64_t pieces_of(const struct entry *e)
{
	return e->bytes ? (e->bytes + PIECE - 1) / PIECE : 1;
}

/* Opens the next file. The lock is held. */
static int open_output(struct export *x)
{
	struct output *o = &x->outputs[x->next];

	o->held = 0;
	o->fd = x->action == ACTION_WRITE ? target_create(x->target, &x->entries, x->next, &o->held)
	                                  : target_reopen(x->target, &x->entries, x->next);
	/* Makes the kernel forget what it has in memory, so that the file is read from the disk if possible. */
	if (x->action == ACTION_VERIFY && o->fd >= 0)
		posix_fadvise(o->fd, 0, 0, POSIX_FADV_DONTNEED);
	o->left = (unsigned)pieces_of(&x->entries.list[x->next]);
	if (o->fd >= 0)
		return 0;
	fail_locked(x, x->next, "cannot be opened", o->fd);
	return o->fd;
}

/* Takes the next piece. Returns false after the last one. */
static bool take(struct export *x, struct piece *p)
{
	const struct entry *e;
	bool taken = false;

	pthread_mutex_lock(&x->lock);
	while (x->next < x->entries.count &&
	       (entry_is_directory(&x->entries.list[x->next]) || x->entries.list[x->next].turn != x->turn))
		x->next++;
	if (x->next < x->entries.count && !x->failed && (x->next_at || open_output(x) == 0)) {
		e = &x->entries.list[x->next];
		*p = (struct piece){x->next, x->next_at, x->next_at + PIECE, x->outputs[x->next].fd};
		if (p->end >= e->bytes) {
			p->end = e->bytes;
			x->next++;
			x->next_at = 0;
		} else {
			x->next_at = p->end;
		}
		taken = true;
	}
	pthread_mutex_unlock(&x->lock);
	return taken;
}

/* Writes all of a reply. Returns 0 or -errno. */
static int write_reply(int fd, const struct gptqfs_reply *reply, uint64_t at)
{
	struct iovec iov[GPTQFS_IOV_MAX], *v = iov;
	int count = reply->count;

	memcpy(iov, reply->iov, (size_t)count * sizeof(*iov));
	while (count) {
		ssize_t n = pwritev(fd, v, count, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (uint64_t)n;
		for (; count && (size_t)n >= v->iov_len; v++, count--)
			n -= (ssize_t)v->iov_len;
		if (count) {
			v->iov_base = (char *)v->iov_base + n;
			v->iov_len -= (size_t)n;
		}
	}
	return 0;
}

/* Returns 1 if the file has exactly the bytes of a reply, 0 if not, or -errno. */
static int has_reply(int fd, const struct gptqfs_reply *reply, uint64_t at, char *scratch)
{
	size_t have = 0;

	while (have < reply->bytes) {
		const ssize_t n = pread(fd, scratch + have, reply->bytes - have, (off_t)(at + have));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			return 0;
		have += (size_t)n;
	}
	for (int i = 0; i < reply->count; i++) {
		if (memcmp(scratch, reply->iov[i].iov_base, reply->iov[i].iov_len) != 0)
			return 0;
		scratch += reply->iov[i].iov_len;
	}
	return 1;
}

/* Makes the file hold the bytes of a reply, or checks that it does. */
static int settle_reply(struct export *x, const struct piece *p, const struct gptqfs_reply *reply, char *scratch)
{
	const bool verify = x->action == ACTION_VERIFY;
	int same = 0, rc;

	if (verify || p->at < x->outputs[p->entry].held)
		same = has_reply(p->fd, reply, p->at, scratch);
	/* Of an earlier export, what cannot be read is written again. */
	if (same == 1)
		return 0;
	if (verify) {
		fail(x, p->entry, same < 0 ? "cannot be read back" : "does not have the bytes that were written",
		    same < 0 ? same : -EIO);
		return -EIO;
	}
	rc = write_reply(p->fd, reply, p->at);
	if (rc)
		fail(x, p->entry, "cannot be written", rc);
	return rc;
}

static int do_piece(struct export *x, const struct piece *p, char *scratch)
{
	struct gptqfs *m = x->request->model;
	const uint64_t ino = x->entries.list[p->entry].ino;
	struct piece now = *p;
	struct gptqfs_reply reply;
	int rc;

	while (now.at < now.end && !atomic_load(&x->stop)) {
		const uint64_t left = now.end - now.at;

		rc = gptqfs_read(m, ino, now.at, left < GPTQFS_READ_MAX ? (size_t)left : GPTQFS_READ_MAX, &reply);
		if (rc == 0 && !reply.bytes) {
			gptqfs_read_done(m, &reply);
			rc = -EIO;
		}
		if (rc) {
			fail(x, p->entry, "cannot be computed", rc);
			return rc;
		}
		rc = settle_reply(x, &now, &reply, scratch);
		now.at += reply.bytes;
		atomic_fetch_add_explicit(&x->done, reply.bytes, memory_order_relaxed);
		gptqfs_read_done(m, &reply);
		if (rc)
			return rc;
	}
	return 0;
}

/* Unmaps what all threads have passed: pieces are taken in order, and each thread has one. */
static void release_behind(const struct export *x, const struct piece *p, bool last)
{
	const struct entry *e = &x->entries.list[p->entry];
	const uint64_t lag = workers_count(x->request->threads) * PIECE;
	const uint64_t from = p->at > lag ? p->at - lag : 0;
	const uint64_t end = last ? e->bytes : p->end > lag ? p->end - lag : 0;

	gptqfs_release(x->request->model, e->ino, from, end - from);
}

/* The last piece of a file is done. */
static void finish_output(struct export *x, const struct piece *p)
{
	const struct entry *e = &x->entries.list[p->entry];
	int rc = 0;

	x->outputs[p->entry].fd = -1;
	if (x->action == ACTION_VERIFY) {
		close(p->fd);
		return;
	}
	rc = target_finish(x->target, &x->entries, p->entry, p->fd, x->sync_each || e->bytes >= PIECE);
	if (rc)
		fail(x, p->entry, "cannot be finished", rc);
	else
		atomic_fetch_add(&x->whole, 1);
}

static void *do_pieces(void *arg)
{
	struct export *x = arg;
	char *scratch = malloc(GPTQFS_READ_MAX);
	struct piece p;
	bool last;

	if (!scratch)
		fail(x, 0, "cannot be exported", -ENOMEM);
	while (scratch && !atomic_load(&x->stop) && take(x, &p)) {
		if (do_piece(x, &p, scratch) || atomic_load(&x->stop))
			break;
		/* On the way to the disk while the next pieces are computed; fsync then has less to wait for. */
		sync_file_range(p.fd, (off_t)p.at, (off_t)(p.end - p.at), SYNC_FILE_RANGE_WRITE);
		pthread_mutex_lock(&x->lock);
		last = --x->outputs[p.entry].left == 0;
		pthread_mutex_unlock(&x->lock);
		release_behind(x, &p, last);
		if (last)
			finish_output(x, &p);
	}
	free(scratch);
	return NULL;
}

/* ---- the whole ---- */

/* Does all files of a turn. Returns false if the export is over. */
static bool pass(struct export *x, enum action action, enum entry_turn turn)
{
	x->action = action;
	x->turn = turn;
	x->next = 0;
	x->next_at = 0;
	/* Few and small, the last ones are written in order. */
	workers_run(turn == TURN_DATA ? workers_count(x->request->threads) : 1, do_pieces, x);
	return !atomic_load(&x->stop);
}

static bool pass_and_verify(struct export *x, enum entry_turn turn)
{
	return pass(x, ACTION_WRITE, turn) && (!x->request->verify || pass(x, ACTION_VERIFY, turn));
}

static bool make_directories(struct export *x)
{
	int rc = 0;

	for (size_t i = 1; rc == 0 && i < x->entries.count; i++) {
		if (!entry_is_directory(&x->entries.list[i]))
			continue;
		rc = target_make_directory(x->target, &x->entries, i);
		if (rc)
			fail(x, i, "cannot be made", rc);
	}
	return rc == 0;
}

static bool sync_all(struct export *x)
{
	const int rc = target_sync(x->target, &x->entries, !x->sync_each);

	if (rc)
		fail(x, 0, "cannot be synced", rc);
	return rc == 0;
}

/* Beside the thread that waits for signals, so that those are heard even while a disk is waited for. */
static void *export_all(void *arg)
{
	struct export *x = arg;
	const uint64_t one = 1;
	int rc;

	if (make_directories(x) && pass_and_verify(x, TURN_DATA) && sync_all(x) && pass_and_verify(x, TURN_INDEX) &&
	    pass_and_verify(x, TURN_CONFIG) && sync_all(x)) {
		rc = target_complete(x->target);
		x->complete = rc == 0;
		if (rc)
			fail(x, 0, "cannot be finished", rc);
	}
	if (write(x->event, &one, sizeof(one)) < 0)
		fail(x, 0, "cannot be finished", -errno);
	return NULL;
}

static uint64_t bytes_done(const void *ctx)
{
	const struct export *x = ctx;

	return atomic_load_explicit(&x->done, memory_order_relaxed);
}

/* Waits for the end. A signal stops the export, and a second one this process. Returns the first signal, or 0. */
static int wait_for_end(struct export *x, int signals)
{
	struct pollfd polls[2] = {{.fd = signals, .events = POLLIN}, {.fd = x->event, .events = POLLIN}};
	struct signalfd_siginfo info;
	int first = 0;

	for (;;) {
		if (poll(polls, 2, -1) < 0)
			continue;
		if (polls[1].revents)
			return first;
		if (read(signals, &info, sizeof(info)) != sizeof(info) || info.ssi_signo == SIGUSR1)
			continue;
		if (first)
			_exit(128 + (int)info.ssi_signo);
		first = (int)info.ssi_signo;
		atomic_store(&x->stop, true);
	}
}

static int start_and_wait(struct export *x)
{
	const struct progress_task task = {"exported", x->entries.bytes * (x->request->verify ? 2 : 1), bytes_done, x};
	struct progress *progress;
	pthread_t thread;
	sigset_t set;
	int signals, interrupted = 0, rc;

	signals_of_server(&set);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals >= 0)
		x->event = eventfd(0, EFD_CLOEXEC);
	if (signals < 0 || x->event < 0) {
		fail(x, 0, "cannot be exported", -errno);
	} else if ((rc = pthread_create(&thread, NULL, export_all, x))) {
		fail(x, 0, "cannot be exported", -rc);
	} else {
		progress = progress_start(&task, x->request->quiet);
		interrupted = wait_for_end(x, signals);
		pthread_join(thread, NULL);
		progress_stop(progress);
	}
	if (signals >= 0)
		close(signals);
	if (x->event >= 0)
		close(x->event);
	return interrupted;
}

/* ---- before and after ---- */

/* Says what remains to be done after an export ended early. */
static void explain_rest(const struct export *x)
{
	log_line(
	    "%s is not a model yet: %zu of %zu files are complete, others are .gptqfs-*; the same command continues it",
	    x->target->path, atomic_load(&x->whole), x->entries.files);
}

static int tell_end(struct export *x, int interrupted, double seconds)
{
	char size[SIZE_TEXT_MAX], rate[SIZE_TEXT_MAX], *path;

	if (x->failed) {
		path = entries_path(&x->entries, x->failed_entry);
		log_line("%s%s%s %s: %s", x->target->path, path && *path ? "/" : "", path ? path : "", x->failed_at,
		    strerror(-x->failed));
		free(path);
		explain_rest(x);
		return EXIT_SERVE;
	}
	if (!x->complete) {
		log_line("interrupted");
		explain_rest(x);
		return 128 + interrupted;
	}
	log_hint("%s: view %s, %zu files, %s, %s/s", x->target->path, x->request->view, x->entries.files,
	    size_text(size, x->entries.bytes),
	    size_text(rate, (uint64_t)((double)atomic_load(&x->done) / (seconds > 0 ? seconds : 1))));
	return EXIT_OK;
}

static int check_space(const struct export *x)
{
	char need[SIZE_TEXT_MAX], have[SIZE_TEXT_MAX];
	uint64_t needed = 0, held, free_bytes;
	struct statvfs fs;

	/* Some file systems do not report it. */
	if (fstatvfs(x->target->fd, &fs) < 0 || !fs.f_blocks || !fs.f_frsize)
		return 0;
	for (size_t i = 1; i < x->entries.count; i++)
		needed += (x->entries.list[i].bytes + fs.f_frsize - 1) / fs.f_frsize * fs.f_frsize;
	held = target_held(x->target, &x->entries);
	needed -= held < needed ? held : needed;
	free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
	if (needed <= free_bytes)
		return 0;
	log_line("%s: view %s needs %s, but %s are free there", x->target->path, x->request->view,
	    size_text(need, needed), size_text(have, free_bytes));
	return -ENOSPC;
}

/* A hash that differs if names, sizes or times do (FNV-1a). It only tells the user; it proves nothing. */
static uint64_t hash_entries(const struct entries *entries)
{
	uint64_t hash = 0xcbf29ce484222325;

	for (size_t i = 1; i < entries->count; i++) {
		const struct entry *e = &entries->list[i];
		const uint64_t numbers[] = {e->parent, e->bytes, (uint64_t)e->mtime.tv_sec, (uint64_t)e->mtime.tv_nsec};

		for (const char *c = e->name; *c; c++)
			hash = (hash ^ (unsigned char)*c) * 0x100000001b3;
		for (size_t n = 0; n < sizeof(numbers) / sizeof(*numbers); n++)
			for (unsigned shift = 0; shift < 64; shift += 8)
				hash = (hash ^ (numbers[n] >> shift & 0xff)) * 0x100000001b3;
	}
	return hash;
}

static int prepare(struct export *x)
{
	char *identity;
	int rc;

	if (asprintf(&identity, "gptqfs export 1\nversion: %s\nmodel: %s\nview: %s\nfiles: %016" PRIx64 "\n",
		GPTQFS_VERSION, gptqfs_source(x->request->model), x->request->view, hash_entries(&x->entries)) < 0) {
		log_line("out of memory");
		return -ENOMEM;
	}
	rc = target_examine(x->target, &x->entries, x->request->model);
	if (rc == 0)
		rc = check_space(x);
	if (rc == 0)
		rc = target_begin(x->target, &x->entries, identity);
	free(identity);
	return rc;
}

static int make_outputs(struct export *x)
{
	x->outputs = calloc(x->entries.count, sizeof(*x->outputs));
	for (size_t i = 0; x->outputs && i < x->entries.count; i++)
		x->outputs[i].fd = -1;
	return x->outputs ? 0 : -ENOMEM;
}

static int export_listed(struct export *x)
{
	const double started = progress_now();
	int rc, interrupted;

	/* A limit on file sizes is reported like a full disk. */
	signal(SIGXFSZ, SIG_IGN);
	rc = target_open(x->target);
	if (rc)
		return rc == -EINVAL || rc == -ENOTEMPTY ? EXIT_USAGE : EXIT_SERVE;
	rc = prepare(x);
	if (rc) {
		target_abort(x->target);
		return rc == -ENOTEMPTY ? EXIT_USAGE : EXIT_SERVE;
	}
	interrupted = start_and_wait(x);
	for (size_t i = 0; i < x->entries.count; i++)
		if (x->outputs[i].fd >= 0)
			close(x->outputs[i].fd);
	target_close(x->target);
	return tell_end(x, interrupted, progress_now() - started);
}

int export_run(const struct export_request *request)
{
	struct export x = {
	    .request = request,
	    .target = request->target,
	    .event = -1,
	};
	int rc = entries_list(&x.entries, request->model), code = EXIT_SERVE;

	x.target->source = gptqfs_source(request->model);
	if (rc == 0)
		rc = make_outputs(&x);
	if (rc) {
		log_line("%s: %s", request->view, strerror(-rc));
		target_abort(x.target);
	} else {
		x.sync_each = x.entries.files <= SYNC_EACH_MAX;
		pthread_mutex_init(&x.lock, NULL);
		code = export_listed(&x);
		pthread_mutex_destroy(&x.lock);
	}
	free(x.outputs);
	entries_free(&x.entries);
	return code;
}
