/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_PAGES_H
#define GPTQFS_PAGES_H

/* Pages of a source file: mapping, and advice to the kernel on which will be needed and which no longer are. */

#include "file/source_file.h"

/* Maps the file for source_guard'ed reading. */
int source_file_map(struct source_file *f, struct gptqfs_error *err);

/* Starts reading bytes from disk that will be needed soon. Advice only; never waits. */
void source_file_advise(const struct source_file *f, uint64_t offset, uint64_t len);

/*
 * Reads missing bytes into the page cache, in order, so that the kernel reads ahead, and waits for them. This yields
 * large folios, which cost half as much to map and copy as the single pages that advice yields (and the kernel
 * truncates advice to its largest disk request). Errors surface when the bytes are read. Does nothing if the file is
 * not mapped.
 */
void source_file_fetch(const struct source_file *f, uint64_t offset, uint64_t len);

/* True if all of these bytes are in the page cache, or the kernel will not say. The file must be mapped. */
bool source_file_resident(const struct source_file *f, uint64_t offset, uint64_t len);

/*
 * Maps pages before they are needed, and unmaps them once they no longer are; they stay in the page cache. Advice, as
 * above: errors surface on use. Mapping waits for the disk if pages are not in memory.
 */
void source_file_populate(const struct source_file *f, uint64_t offset, uint64_t len);
void source_file_unpopulate(const struct source_file *f, uint64_t offset, uint64_t len);

#endif
