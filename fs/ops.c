/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdlib.h>
#include <unistd.h>

/* The tree never changes, so the kernel may keep what it was told for as long as it likes. */
#define FOREVER 1e9

static struct gptqfs *model_of(fuse_req_t req)
{
	return ((struct server *)fuse_req_userdata(req))->model;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct server *server = userdata;

	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
	if (server->max_read)
		conn->max_read = server->max_read;
	if (write(server->event, "i", 1) < 0)
		return;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.attr_timeout = FOREVER, .entry_timeout = FOREVER};
	int rc = gptqfs_lookup(model_of(req), parent, name, &e.attr);

	/* Inode 0 is "no such file", for the kernel to remember: loaders ask for many files that are optional. */
	e.ino = rc == 0 ? e.attr.st_ino : 0;
	if (rc && rc != -ENOENT)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat attr;
	int rc = gptqfs_getattr(model_of(req), ino, &attr);

	(void)fi;
	if (rc)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_attr(req, &attr, FOREVER);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *server = fuse_req_userdata(req);

	(void)ino;
	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
		return;
	}
	fi->direct_io = server->direct_io;
	fi->keep_cache = 1;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct gptqfs *model = model_of(req); /* the request is gone once it is answered */
	struct gptqfs_reply reply;
	int rc = gptqfs_read(model, ino, (uint64_t)off, size, &reply);

	(void)fi;
	if (rc) {
		fuse_reply_err(req, -rc);
		return;
	}
	fuse_reply_iov(req, reply.iov, reply.count);
	gptqfs_read_done(model, &reply);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->cache_readdir = 1;
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

/* Adds one entry; returns its size, which is more than `room` if it did not fit. */
static size_t add_entry(fuse_req_t req, char *at, size_t room, const struct gptqfs_dirent *entry, off_t next)
{
	struct stat attr = {.st_ino = entry->ino};

	gptqfs_getattr(model_of(req), entry->ino, &attr);
	return fuse_add_direntry(req, at, room, entry->name, &attr, next);
}

/* The same with everything lookup would tell: attributes half filled would be believed. */
static size_t add_entry_plus(fuse_req_t req, char *at, size_t room, const struct gptqfs_dirent *entry, off_t next)
{
	struct fuse_entry_param e = {.ino = entry->ino, .attr_timeout = FOREVER, .entry_timeout = FOREVER};

	gptqfs_getattr(model_of(req), entry->ino, &e.attr);
	return fuse_add_direntry_plus(req, at, room, entry->name, &e, next);
}

typedef size_t add_entry_fn(fuse_req_t, char *, size_t, const struct gptqfs_dirent *, off_t);

static void reply_directory(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, add_entry_fn *add)
{
	struct gptqfs_dirent entry;
	char *buffer = malloc(size);
	size_t used = 0;
	int rc = buffer ? 0 : -ENOMEM;

	while (rc == 0) {
		rc = gptqfs_readdir(model_of(req), ino, (uint64_t)off, &entry);
		if (rc == 0) {
			size_t len = add(req, buffer + used, size - used, &entry, off + 1);

			if (len > size - used)
				break;
			used += len;
			off++;
		}
	}
	if (rc && rc != -ENOENT)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_buf(req, buffer, used);
	free(buffer);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	reply_directory(req, ino, size, off, add_entry);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)fi;
	reply_directory(req, ino, size, off, add_entry_plus);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;

	(void)ino;
	gptqfs_statfs(model_of(req), &st);
	fuse_reply_statfs(req, &st);
}

/* What is missing here is answered by libfuse with ENOSYS, once, and remembered by the kernel. */
const struct fuse_lowlevel_ops ops = {
    .init = op_init,
    .lookup = op_lookup,
    .getattr = op_getattr,
    .open = op_open,
    .read = op_read,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .statfs = op_statfs,
};
