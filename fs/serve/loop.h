/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LOOP_H
#define GPTQFS_LOOP_H

/*
 * The threads that serve a session. In libfuse's own loop all idle threads wait for requests, and the kernel wakes the
 * one that has waited longest: a single reader is served by all of them in turn, each with a cold cache, and with few
 * CPUs they delay each other. Here a single sequential reader is served by a team of one or two threads while the
 * others sleep. Every few milliseconds one of those checks whether the team is stuck, on a disk for example, and if so
 * takes the next request. For any other load, all idle threads wait for requests, and more are started when all are
 * busy, up to a limit.
 *
 * With two CPUs, a team of one is best, as the reader needs the other CPU. With more, one thread decodes while another
 * sends what it decoded before; they alternate, so that each sends from its own cache. For a reader that issues one
 * request at a time (O_DIRECT), it is the reverse: handing over costs a wake-up per request, so one thread is faster;
 * but with two CPUs such a reader leaves its CPU to the second thread, which is then awake.
 */

#include <stdbool.h>

struct fuse_session;
struct loop;

/* How many threads serve a single reader, at least 1. */
struct loop_teams {
	unsigned ahead;   /* one that the kernel reads ahead for */
	unsigned in_turn; /* one that issues one request at a time */
};

/*
 * Returns NULL if out of memory. At most max_threads (at least 1) serve, including the caller of loop_run; a single
 * reader is served by a team of them.
 */
struct loop *loop_new(struct fuse_session *session, unsigned max_threads, const struct loop_teams *teams);
void loop_free(struct loop *l);

/* Serves until the session ends and all other threads have exited. Returns 0 or -errno. */
int loop_run(struct loop *l);

struct loop_read {
	bool single;  /* from the only recent reader, which is sequential */
	bool in_turn; /* one request at a time: the kernel does not read ahead */
};

/* Tells the loop what is being read; call it before the reply. Called by any of its threads; NULL is allowed. */
void loop_note_read(struct loop *l, const struct loop_read *r);

/* Returns the best sizes of teams on this machine: 1 or 2. */
struct loop_teams loop_teams(void);

/* Returns the threads of the larger team. */
unsigned loop_threads(const struct loop_teams *teams);

/* True if no request is waiting. False for NULL. */
bool loop_is_quiet(const struct loop *l);

#endif
