/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_OPTIONS_H
#define GPTQFS_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include <fuse_opt.h>

#include "../core/gptqfs.h"

#define READAHEAD_DEFAULT 1024 /* KiB */

/* The command line. Zeroed at birth; options_free frees it whatever happened. */
struct options {
	struct gptqfs_options model;
	char *source;     /* MODEL_DIR as given */
	char *mountpoint; /* as given */
	char *view, *dtype, *cpu, *cache, *accel, *cuda_mem;
	unsigned readahead; /* KiB */
	unsigned max_read;  /* bytes, 0 for what the kernel has */
	int direct_io;
	int noxattr;
	int follow_symlinks;
	int help, version, check, json, sha256;
	int foreground, debug, single;
	int has_fsname;
	bool fake; /* mount -f: all but mounting */
	unsigned max_threads, max_idle_threads, reader_threads;
	int clone_fd;
	char *const *command;  /* what stands after "--", or NULL */
	struct fuse_args fuse; /* what is left for fuse_session_new */
};

/*
 * Where the command begins: behind a "--" that follows model and mountpoint. Before them "--" ends the options, as
 * everywhere. 0 if there is none.
 */
int options_find_command(int argc, char **argv);

/* Parses. Returns 0, or -EINVAL after having said what is wrong. */
int options_parse(struct options *o, int argc, char **argv);
void options_free(struct options *o);

void options_help(FILE *out);
void options_version(FILE *out);

#endif
