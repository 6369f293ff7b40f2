/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GUARD_H
#define GPTQFS_GUARD_H

/* Turns SIGBUS, raised when a page of a mapped file cannot be had, into an error. */

/*
 * Calls fn(ctx), which may read mapped files. 0, or -EIO if a page could not be had; fn was then left in the middle,
 * so it must not hold locks or memory.
 */
int source_guard(void (*fn)(void *ctx), void *ctx);

/* Catches SIGBUS for the whole process, for source_guard. Any other SIGBUS still kills. */
void source_guard_install(void);

#endif
