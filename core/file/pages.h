/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PAGES_H
#define GPTQFS_PAGES_H

/* Pages of a source file: mapping it, and advice to the kernel about what is read next and what no more. */

#include "file/source_file.h"

/* Maps the file for source_guard'ed reading. */
int source_file_map(struct source_file *f, struct gptqfs_error *err);

/* Lets the disk begin with bytes that will be read soon. Advice only; never waits for them. */
void source_file_advise(const struct source_file *f, uint64_t offset, uint64_t len);

/*
 * Brings bytes into the page cache that are not there, as any reader does: in order, with the kernel's own reading
 * ahead, and waits for them. They are then in large folios, and cost half as much to map and to copy as in the single
 * pages that advice brings (of which the kernel also does no more than its largest request to the disk). Failures are
 * seen when the bytes are read. Does nothing where the file is not mapped.
 */
void source_file_fetch(const struct source_file *f, uint64_t offset, uint64_t len);

/* True if all of these bytes are in the page cache, or the kernel does not tell. The file must be mapped. */
bool source_file_resident(const struct source_file *f, uint64_t offset, uint64_t len);

/*
 * Maps pages before they are needed, and unmaps those that are not needed any more; they stay in the page cache.
 * Advice, as above: what could not be mapped is seen when it is used. Mapping waits for the disk where pages are not in
 * memory.
 */
void source_file_populate(const struct source_file *f, uint64_t offset, uint64_t len);
void source_file_unpopulate(const struct source_file *f, uint64_t offset, uint64_t len);

#endif
