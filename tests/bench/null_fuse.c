/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

/*
 * The cost of FUSE itself: a file system that does nothing. It serves files f0, f1, ... of given sizes from one static
 * buffer, with the mount options, open flags, timeouts, loop and readahead of gptqfs. Reading gptqfs cannot be faster
 * than reading this.
 *
 *     null_fuse [-f] [-d] [-r KIB] MOUNTPOINT SIZE...
 */

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../../fs/serve/loop.h"
#include "read/stream.h"

#define FOREVER 1e9
#define REQUEST_MAX ((size_t)1 << 20)
#define FILES_MAX 4096
#define THREADS_MAX 10
#define ROOT 1
/* As long as gptqfs waits. */
#define SINGLE_MIN 8

static char buffer[REQUEST_MAX] __attribute__((aligned(4096)));

struct null_fuse {
	bool foreground, direct_io;
	unsigned readahead; /* KiB, 0 to leave it alone */
	const char *mountpoint;
	struct loop *loop;
	pthread_mutex_t lock;
	struct stream stream;      /* of reads; protected by the lock */
	uint64_t sizes[FILES_MAX]; /* of inode ROOT + 1 + index */
	size_t count;
};

static struct null_fuse server = {.lock = PTHREAD_MUTEX_INITIALIZER};

static int fill_attr(fuse_ino_t ino, struct stat *attr)
{
	*attr = (struct stat){
	    .st_ino = ino, .st_nlink = 1, .st_blksize = REQUEST_MAX, .st_uid = getuid(), .st_gid = getgid()};
	if (ino == ROOT) {
		attr->st_mode = S_IFDIR | 0555;
		attr->st_nlink = 2;
		return 0;
	}
	if (ino - ROOT - 1 >= server.count)
		return -ENOENT;
	attr->st_mode = S_IFREG | 0444;
	attr->st_size = (off_t)server.sizes[ino - ROOT - 1];
	attr->st_blocks = (attr->st_size + 511) / 512;
	return 0;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.attr_timeout = FOREVER, .entry_timeout = FOREVER};
	char expected[32];
	unsigned long index;

	if (parent == ROOT && sscanf(name, "f%lu", &index) == 1 && index < server.count) {
		snprintf(expected, sizeof(expected), "f%lu", index);
		if (strcmp(name, expected) == 0) {
			e.ino = ROOT + 1 + index;
			fill_attr(e.ino, &e.attr);
		}
	}
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat attr;

	(void)fi;
	if (fill_attr(ino, &attr))
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_attr(req, &attr, FOREVER);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->direct_io = server.direct_io;
	fi->keep_cache = 1;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
}

/* Same as gptqfs_note_read. */
static bool is_single(fuse_ino_t ino, uint64_t offset, size_t size)
{
	bool single;

	pthread_mutex_lock(&server.lock);
	stream_note(&server.stream, &server.sizes[ino - ROOT - 1], offset, size);
	single = server.stream.followed >= SINGLE_MIN;
	pthread_mutex_unlock(&server.lock);
	return single;
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	const uint64_t end = server.sizes[ino - ROOT - 1], at = (uint64_t)off;
	struct iovec iov = {.iov_base = buffer, .iov_len = size < REQUEST_MAX ? size : REQUEST_MAX};

	(void)fi;
	loop_note_read(server.loop, &(struct loop_read){.single = is_single(ino, at, size)});
	if (at >= end)
		iov.iov_len = 0;
	else if (iov.iov_len > end - at)
		iov.iov_len = (size_t)(end - at);
	fuse_reply_iov(req, &iov, 1);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	char *out = malloc(size), name[32];
	size_t used = 0, len;

	(void)fi;
	(void)ino;
	for (; out && (size_t)off < server.count + 2; off++, used += len) {
		fuse_ino_t child = off < 2 ? ROOT : (fuse_ino_t)off - 2 + ROOT + 1;
		struct stat attr;

		snprintf(name, sizeof(name), "f%lu", (unsigned long)off - 2);
		fill_attr(child, &attr);
		len = fuse_add_direntry(req, out + used, size - used,
		    off == 0   ? "."
		    : off == 1 ? ".."
			       : name,
		    &attr, off + 1);
		if (len > size - used)
			break;
	}
	fuse_reply_buf(req, out, used);
	free(out);
}

static const struct fuse_lowlevel_ops ops = {
    .init = op_init,
    .lookup = op_lookup,
    .getattr = op_getattr,
    .open = op_open,
    .read = op_read,
    .readdir = op_readdir,
};

/* Waits until the mount responds, then sets its readahead. Returns an exit code. */
static int settle(void)
{
	char path[128];
	struct stat st;
	FILE *f;

	if (stat(server.mountpoint, &st) < 0) {
		fprintf(stderr, "null_fuse: %s: %s\n", server.mountpoint, strerror(errno));
		return 1;
	}
	if (!server.readahead)
		return 0;
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(st.st_dev), minor(st.st_dev));
	f = fopen(path, "we");
	if (!f || fprintf(f, "%u\n", server.readahead) < 0 || fclose(f))
		fprintf(stderr, "null_fuse: %s: %s; readahead stays as it is\n", path, strerror(errno));
	return 0;
}

static int serve(struct fuse_session *session)
{
	int rc;

	server.loop = loop_new(session, THREADS_MAX, &(struct loop_teams){1, 1});
	if (!server.loop)
		return 1;
	rc = loop_run(server.loop);
	loop_free(server.loop);
	fuse_session_unmount(session);
	return rc != 0;
}

/* After fork, one process serves and the other waits for the mount; -f decides which. */
static int run(struct fuse_session *session)
{
	pid_t child = fork();
	int rc;

	if (child < 0) {
		perror("null_fuse: fork");
		return 1;
	}
	if ((child > 0) != server.foreground) {
		/* Without this the mount would outlive a dead server, and stat would hang. */
		close(fuse_session_fd(session));
		rc = settle();
		fflush(NULL);
		_exit(rc);
	}
	if (!server.foreground) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		setsid();
		for (int fd = 0; null >= 0 && fd <= 2; fd++)
			dup2(null, fd);
		if (chdir("/") < 0)
			return 1;
	}
	rc = serve(session);
	if (server.foreground)
		waitpid(child, NULL, 0);
	return rc;
}

static int parse(int argc, char **argv)
{
	char *end;
	int c;

	while ((c = getopt(argc, argv, "fdr:")) != -1) {
		switch (c) {
		case 'f':
			server.foreground = true;
			break;
		case 'd':
			server.direct_io = true;
			break;
		case 'r':
			server.readahead = (unsigned)strtoul(optarg, NULL, 10);
			break;
		default:
			return -EINVAL;
		}
	}
	if (argc - optind < 2 || argc - optind - 1 > FILES_MAX)
		return -EINVAL;
	server.mountpoint = argv[optind++];
	for (; optind < argc; optind++) {
		errno = 0;
		server.sizes[server.count++] = strtoull(argv[optind], &end, 10);
		if (errno || *end || end == argv[optind])
			return -EINVAL;
	}
	return 0;
}

int main(int argc, char **argv)
{
	char *words[] = {argv[0], "-o", "ro,nosuid,nodev,default_permissions,fsname=null,subtype=null"};
	struct fuse_args args = FUSE_ARGS_INIT(3, words);
	struct fuse_session *session;
	int rc;

	if (parse(argc, argv)) {
		fprintf(stderr, "usage: null_fuse [-f] [-d (direct_io)] [-r READAHEAD_KIB] MOUNTPOINT SIZE...\n");
		return 2;
	}
	memset(buffer, 0x3c, sizeof(buffer));
	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!session || fuse_session_mount(session, server.mountpoint))
		return 1;
	rc = run(session);
	fuse_session_destroy(session);
	fuse_opt_free_args(&args);
	return rc;
}
