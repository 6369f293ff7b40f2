/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_OPTIONS_H
#define GPTQFS_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include <fuse_opt.h>

#include "../core/gptqfs.h"

/* The command line. options_free frees it, after failure too. */
struct options {
	struct gptqfs_options model;
	char *source;     /* MODEL_DIR as given */
	char *mountpoint; /* as given */
	char *view, *lora_tokenizer, *dtype, *cpu, *cache, *accel, *cuda_mem;
	char **lora;        /* [model.lora_count] */
	unsigned readahead; /* KiB */
	unsigned max_read;  /* bytes, 0 for the kernel's own limit */
	int direct_io;
	int noxattr;
	int follow_symlinks;
	int help, version, check, json, sha256, blobs, quiet, unmount;
	int foreground, debug, single;
	bool has_fsname;
	bool asks_rw;      /* "rw" was given... */
	bool asks_by_fuse; /* ...by mount(8), which adds it to every mount */
	bool fake;         /* mount -f: all but mounting */
	unsigned max_threads, max_idle_threads, reader_threads;
	int clone_fd;
	char *const *command;  /* what follows "--", or NULL */
	struct fuse_args fuse; /* the rest, for fuse_session_new */
};

/*
 * Returns the index of the first word of the command, which follows a "--" that comes after the model and the
 * mountpoint, or 0 if there is none. An earlier "--" ends the options, as everywhere.
 */
int options_find_command(int argc, char **argv);

/* Returns 0, or -EINVAL after a message. */
int options_parse(struct options *o, int argc, char **argv);
void options_free(struct options *o);

void options_help(FILE *out);
void options_version(FILE *out);

#endif
