/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LOOP_H
#define GPTQFS_LOOP_H

/*
 * The threads that serve a session. libfuse's own loop lets every idle thread wait for requests, and the kernel wakes
 * the one that has waited longest: a single reader is then served by all of them in turn, each from a cold cache, and
 * two of them get into each other's way where there are few processors. Here, as long as requests for bytes follow one
 * another in one file, one thread serves them alone and the others sleep. One of those looks every few milliseconds
 * whether it is held up, by a disk say, and takes the next request if it is. Otherwise all idle threads wait for
 * requests, and there are more when all are busy, up to a limit.
 */

#include <stdbool.h>
#include <stdint.h>

struct fuse_session;
struct loop;

/* NULL for lack of memory. At most max_threads (at least 1) will serve, the caller of loop_run among them. */
struct loop *loop_new(struct fuse_session *session, unsigned max_threads);
void loop_free(struct loop *l);

/* Serves until the session is over, and all threads have ended but the caller's. 0 or -errno. */
int loop_run(struct loop *l);

/* Tells the loop what is being read, before the reply; from any of its threads. NULL is allowed. */
void loop_note_read(struct loop *l, uint64_t ino, uint64_t offset, uint64_t size);

/* Is no request waiting? False for NULL. */
bool loop_is_quiet(const struct loop *l);

#endif
