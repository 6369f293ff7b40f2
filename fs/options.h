/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_OPTIONS_H
#define GPTQFS_OPTIONS_H

#include <stdbool.h>
#include <stdio.h>

#include <fuse_opt.h>

#include "gptqfs.h"
#include "serve/loop.h"

/* The command line. Free it with options_free, even after failure. */
struct options {
	struct gptqfs_options model;
	char *source;     /* MODEL_DIR, as given */
	char *mountpoint; /* as given */
	char *view, *loras, *lora_tokenizer, *dtype, *cpu, *cache, *shard, *accel, *cuda_mem, *sandbox, *pagecache;
	char *against;      /* of --stats, or NULL */
	char *export_dir;   /* of --export, or NULL */
	char *cat, *ls;     /* paths in the tree, or NULL */
	bool writes_tar;    /* export_dir is "-" */
	bool writes_files;  /* export_dir is a directory */
	unsigned jobs;      /* 0 for the default */
	char **lora;        /* [model.lora_count] */
	unsigned readahead; /* KiB */
	unsigned max_read;  /* bytes, 0 for the kernel's limit */
	int direct_io;
	int noxattr;
	int follow_symlinks, gguf_q2;
	int help, version, licenses, check, stats, all, json, sha256, blobs, quiet, unmount, force, verify, list_root,
	    list;
	int foreground, debug, single;
	char *fsname;             /* or NULL; also among the remaining arguments */
	bool allow_other, noexec; /* likewise */
	bool asks_rw;             /* "rw" was given... */
	bool asks_by_fuse;        /* ...by mount(8), which adds it to all mounts */
	bool is_export_new;       /* export_dir was made for it: set before sandbox_enter */
	bool holds_model;         /* the mountpoint has the files of a model: set by model_find */
	bool fake;                /* mount -f: do everything but mount */
	/* What pagecache= resolved to, and what `info` says about it: set by pagecache_choose. */
	bool erofs, face;
	char page_cache[512];
	unsigned max_threads, max_idle_threads;
	struct loop_teams teams;
	int clone_fd;
	char *const *command;  /* after "--", or NULL */
	struct fuse_args fuse; /* remaining arguments, for fuse_session_new */
};

/*
 * Returns the index of the first word of the command, or 0 if there is none. The command follows a "--" after the
 * model, or after model and mountpoint. A "--" before them ends the options, as usual.
 */
int options_find_command(int argc, char **argv);

/* Returns 0, or -EINVAL after a message. */
int options_parse(struct options *o, int argc, char **argv);
void options_free(struct options *o);

void options_help(FILE *out);
void options_version(FILE *out);

#endif
