/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_HEADER_H
#define GPTQFS_HEADER_H

/* The beginning of a checkpoint's files: the header of a shard, or signs of something else under its name. */

#include "checkpoint/safetensors.h"
#include "file/source_file.h"

/* Checks whether a file that starts with these bytes can be what its name says. Returns 0 or -EBADMSG. */
int header_check(const struct source_file *f, const char *start, size_t len, struct gptqfs_error *err);

/* Reads and parses the header of a safetensors file. Returns codes of source_file_load and safetensors_parse. */
int header_read(const struct source_file *f, struct arena *arena, struct safetensors *out, struct gptqfs_error *err);

#endif
