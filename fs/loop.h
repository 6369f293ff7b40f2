/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LOOP_H
#define GPTQFS_LOOP_H

/*
 * The threads that serve a session. libfuse's own loop lets every idle thread wait for requests, and the kernel wakes
 * the one that has waited longest: a single reader is then served by all of them in turn, each from a cold cache, and
 * two of them get into each other's way where there are few processors. Here, as long as requests for bytes follow one
 * another in one file, a team of few threads serves them and the others sleep. One of those looks every few
 * milliseconds whether the team is held up, by a disk say, and takes the next request if it is. Otherwise all idle
 * threads wait for requests, and there are more when all are busy, up to a limit.
 *
 * A team of one is best where there are but two processors, the other being the reader's. With more, one thread
 * computes while another sends what it had computed before: in turn, so that each sends from its own cache. A reader
 * who asks for one piece at a time has to wait until the other wakes up, and is better served by one.
 */

#include <stdbool.h>
#include <stdint.h>

struct fuse_session;
struct loop;

/* NULL for lack of memory. At most max_threads (at least 1) will serve, the caller of loop_run among them; a team is
 * of `team` (at least 1). */
struct loop *loop_new(struct fuse_session *session, unsigned max_threads, unsigned team);
void loop_free(struct loop *l);

/* Serves until the session is over, and all threads have ended but the caller's. 0 or -errno. */
int loop_run(struct loop *l);

struct loop_read {
	uint64_t ino, offset, size;
	bool in_turn; /* the reader waits for each answer before he asks again: nobody reads ahead for him */
};

/* Tells the loop what is being read, before the reply; from any of its threads. NULL is allowed. */
void loop_note_read(struct loop *l, const struct loop_read *r);

/* The team for this machine: as many as can run beside the reader, 1 or 2. */
unsigned loop_team(void);

/* Is no request waiting? False for NULL. */
bool loop_is_quiet(const struct loop *l);

#endif
