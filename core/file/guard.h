/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_GUARD_H
#define GPTQFS_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* Turns SIGBUS, raised when a page of a mapped file cannot be read, into an error. */

/*
 * Calls fn(ctx), which may read mapped files. Returns 0, or -EIO if a page could not be read. fn is then abandoned
 * midway, so it must not hold locks or memory.
 */
int source_guard(void (*fn)(void *ctx), void *ctx);

/* True if both can be read, and hold the same bytes. */
bool source_same_bytes(const void *a, const void *b, size_t bytes);

/*
 * Installs the process-wide SIGBUS handler that source_guard needs, and unblocks the signal for this thread and those
 * it starts. Any other SIGBUS still kills.
 */
void source_guard_install(void);

#endif
