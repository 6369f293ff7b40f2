/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "serve/ops.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "serve/face.h"
#include "serve/loop.h"
#include "serve/status.h"

/* The tree never changes: the kernel may cache names and attributes without limit. */
#define FOREVER 1e9

static struct server *server_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

static struct gptqfs *model_of(fuse_req_t req)
{
	return server_of(req)->model;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct server *server = userdata;

	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
	/* Inode numbers are valid as long as the mount: NFS may use one that the kernel has forgotten. */
	conn->want |= conn->capable & FUSE_CAP_EXPORT_SUPPORT;
	if (server->max_read)
		conn->max_read = server->max_read;
	/* It limits reads too, in pages: with pages of 64 KiB they could be larger. A short reply is the end of a file.
	 */
	if (conn->max_write > GPTQFS_READ_MAX)
		conn->max_write = GPTQFS_READ_MAX;
	face_init(server->face, conn);
	if (write(server->event, "i", 1) < 0)
		return;
}

/* Completes attributes, and returns how long the kernel may cache them. `status` is always fresh. */
static double complete(const struct gptqfs *model, struct stat *attr)
{
	if (!gptqfs_is_status(model, attr->st_ino))
		return FOREVER;
	clock_gettime(CLOCK_REALTIME, &attr->st_mtim);
	attr->st_atim = attr->st_ctim = attr->st_mtim;
	return 0;
}

/* A file handle from an earlier mount is stale. The kernel knows the root by generation 0. */
static uint64_t generation_of(fuse_req_t req, uint64_t ino)
{
	return ino == GPTQFS_ROOT ? 0 : server_of(req)->generation;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.entry_timeout = FOREVER};
	int rc = gptqfs_lookup(model_of(req), parent, name, &e.attr);

	/* Inode 0 means "no such file", which the kernel caches: loaders probe for many optional files. */
	e.ino = rc == 0 ? e.attr.st_ino : 0;
	e.generation = generation_of(req, e.ino);
	e.attr_timeout = rc == 0 ? complete(model_of(req), &e.attr) : FOREVER;
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
		fuse_reply_attr(req, &attr, complete(model_of(req), &attr));
}

/* Its size is shown as 0, so only direct I/O reads it. Readers get the text as of open. */
static void open_status(fuse_req_t req, struct fuse_file_info *fi)
{
	struct snapshot *snapshot = status_snapshot(server_of(req));

	if (!snapshot) {
		fuse_reply_err(req, ENOMEM);
		return;
	}
	fi->fh = (uintptr_t)snapshot;
	fi->direct_io = 1;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi))
		free(snapshot); /* the open was interrupted, so there will be no release */
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct server *server = server_of(req);
	int rc;

	if ((fi->flags & O_ACCMODE) != O_RDONLY) {
		fuse_reply_err(req, EROFS);
		return;
	}
	if (gptqfs_is_status(server->model, ino)) {
		open_status(req, fi);
		return;
	}
	fi->direct_io = server->direct_io;
	fi->keep_cache = 1;
	fi->noflush = 1;
	rc = face_open(server->face, ino, fi);
	if (rc)
		fuse_reply_err(req, -rc);
	else if (fuse_reply_open(req, fi))
		face_release(server->face, ino); /* the open was interrupted, so there will be no release */
}

/* Sent from a copy: once the reader has the bytes, it may close the file before the reply call returns. */
static void read_status(fuse_req_t req, const struct fuse_file_info *fi, size_t size, off_t off)
{
	const struct snapshot *snapshot = (const void *)(uintptr_t)fi->fh;
	const size_t at = (uint64_t)off < snapshot->len ? (size_t)off : snapshot->len;
	size_t len = snapshot->len - at;
	char piece[4096]; /* readers of a file without a size read until end of file */

	if (len > size)
		len = size;
	if (len > sizeof(piece))
		len = sizeof(piece);
	memcpy(piece, snapshot->text + at, len);
	fuse_reply_buf(req, piece, len);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	struct server *server = server_of(req); /* the request is freed by the reply */
	struct gptqfs *model = server->model;
	struct gptqfs_reply reply;
	bool more;
	int rc;

	if (fi->fh) {
		read_status(req, fi, size, off);
		return;
	}
	loop_note_read(server->loop, &(struct loop_read){
					 .single = gptqfs_note_read(model, ino, (uint64_t)off, size),
					 .in_turn = server->direct_io || (fi->flags & O_DIRECT),
				     });
	rc = gptqfs_read(model, ino, (uint64_t)off, size, &reply);
	if (rc) {
		fuse_reply_err(req, -rc);
		return;
	}
	fuse_reply_iov(req, reply.iov, reply.count);
	more = gptqfs_read_done(model, &reply);
	while (more && loop_is_quiet(server->loop))
		more = gptqfs_work(model);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	face_release(server_of(req)->face, ino);
	free((void *)(uintptr_t)fi->fh);
	fuse_reply_err(req, 0);
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->cache_readdir = 1;
	fi->keep_cache = 1;
	fuse_reply_open(req, fi);
}

/* Adds an entry. Returns its size, which exceeds `room` if it did not fit. */
static size_t add_entry(fuse_req_t req, char *at, size_t room, const struct gptqfs_dirent *entry, off_t next)
{
	struct stat attr = {.st_ino = entry->ino};

	gptqfs_getattr(model_of(req), entry->ino, &attr);
	return fuse_add_direntry(req, at, room, entry->name, &attr, next);
}

/* The same with the attributes of a lookup, which the kernel caches. */
static size_t add_entry_plus(fuse_req_t req, char *at, size_t room, const struct gptqfs_dirent *entry, off_t next)
{
	struct fuse_entry_param e = {
	    .ino = entry->ino, .generation = generation_of(req, entry->ino), .entry_timeout = FOREVER};

	gptqfs_getattr(model_of(req), entry->ino, &e.attr);
	e.attr_timeout = complete(model_of(req), &e.attr);
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

/* After ENOSYS the kernel does not ask again. */
static bool refuse_attributes(fuse_req_t req)
{
	const struct server *server = server_of(req);

	if (server->noxattr)
		fuse_reply_err(req, ENOSYS);
	return server->noxattr;
}

/* Replies with names or a value, or only with the size if the caller passed size 0. */
static void reply_attributes(fuse_req_t req, const char *bytes, size_t size, ssize_t rc)
{
	if (rc < 0)
		fuse_reply_err(req, (int)-rc);
	else if (!size)
		fuse_reply_xattr(req, (size_t)rc);
	else
		fuse_reply_buf(req, bytes, (size_t)rc);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	char *bytes;

	if (refuse_attributes(req))
		return;
	bytes = size ? malloc(size) : NULL;
	reply_attributes(req, bytes, size,
	    size && !bytes ? -ENOMEM : status_get_attribute(server_of(req), ino, name, bytes, size));
	free(bytes);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	char *bytes;

	if (refuse_attributes(req))
		return;
	bytes = size ? malloc(size) : NULL;
	reply_attributes(req, bytes, size,
	    size && !bytes ? -ENOMEM : status_list_attributes(server_of(req), ino, bytes, size));
	free(bytes);
}

/* libfuse answers all other requests with ENOSYS, which the kernel remembers. */
const struct fuse_lowlevel_ops ops = {
    .init = op_init,
    .lookup = op_lookup,
    .getattr = op_getattr,
    .open = op_open,
    .read = op_read,
    .release = op_release,
    .opendir = op_opendir,
    .readdir = op_readdir,
    .readdirplus = op_readdirplus,
    .statfs = op_statfs,
    .getxattr = op_getxattr,
    .listxattr = op_listxattr,
};
