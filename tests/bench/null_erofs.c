/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

/*
 * The cost of EROFS on a FUSE file: an image of files f0, f1, ... of given sizes, whose data are one static buffer,
 * with the mount options, loop and readahead of gptqfs -o pagecache=erofs. Reading gptqfs so cannot be faster than
 * reading this. With -c the data are copied from 256 MiB of memory first, as a server must that has them elsewhere.
 * Needs root.
 *
 *     null_erofs [-c] [-f] [-r KIB] [-t TEAM] MOUNTPOINT SIZE...
 */

#include <dirent.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../fs/serve/loop.h"

#define FOREVER 1e9
#define REQUEST_MAX ((size_t)256 << 10) /* in words below, too */
#define ALIGN ((uint64_t)2 << 20)       /* of files, and the room of the metadata */
#define COPIED ((size_t)256 << 20)

enum { BLOCK = 4096, FILES_MAX = 8, THREADS_MAX = 10, REQUESTS_MAX = 64, IMAGE = 2, ROOT_NID = 2 };

struct null_erofs {
	unsigned readahead; /* KiB, 0 to leave it alone */
	unsigned team;      /* threads for large requests */
	char *copied;       /* [COPIED] or NULL */
	const char *mountpoint;
	char hidden[32];
	struct fuse_session *session;
	struct loop *loop;
	uint64_t sizes[FILES_MAX], size;
	size_t count;
};

static struct null_erofs server;
static char metadata[ALIGN], buffer[REQUEST_MAX] __attribute__((aligned(4096)));

/* ---- the image: superblock at 1024, inodes in block 1, the root's list in block 2, files from 2 MiB on ---- */

static void put(char *p, size_t size, uint64_t v)
{
	memcpy(p, &v, size);
}

static void put_inode(size_t nid, mode_t mode, uint64_t size, uint64_t block)
{
	char *p = metadata + BLOCK + 32 * nid;

	put(p, 2, 1);
	put(p + 4, 2, mode);
	put(p + 8, 8, size);
	put(p + 16, 4, block);
	put(p + 20, 4, nid);
	put(p + 44, 4, S_ISDIR(mode) ? 2 : 1);
}

static void put_entry(size_t index, size_t nid, const char *name, size_t *end)
{
	char *list = metadata + 2 * (size_t)BLOCK;

	put(list + 12 * index, 8, nid);
	put(list + 12 * index + 8, 2, *end);
	put(list + 12 * index + 10, 1, nid == ROOT_NID ? 2 : 1);
	memcpy(list + *end, name, strlen(name));
	*end += strlen(name);
}

static void make_image(void)
{
	char *superblock = metadata + 1024, name[16];
	size_t end = 12 * (server.count + 2);
	uint64_t at = ALIGN;

	put_entry(0, ROOT_NID, ".", &end);
	put_entry(1, ROOT_NID, "..", &end);
	for (size_t i = 0; i < server.count; i++) {
		const size_t nid = ROOT_NID + 2 * (i + 1);

		snprintf(name, sizeof(name), "f%zu", i);
		put_entry(i + 2, nid, name, &end);
		put_inode(nid, S_IFREG | 0444, server.sizes[i], at / BLOCK);
		at = (at + server.sizes[i] + ALIGN - 1) / ALIGN * ALIGN;
	}
	put_inode(ROOT_NID, S_IFDIR | 0555, end, 2);
	put(superblock, 4, 0xe0f5e1e2);
	put(superblock + 12, 1, 12);
	put(superblock + 14, 2, ROOT_NID);
	put(superblock + 16, 8, server.count + 1);
	put(superblock + 36, 4, at / BLOCK);
	put(superblock + 40, 4, 1);
	server.size = at;
}

/* ---- the session ---- */

static void fill_attr(fuse_ino_t ino, struct stat *attr)
{
	*attr = (struct stat){.st_ino = ino, .st_nlink = 1, .st_mode = S_IFDIR | 0500};
	if (ino == IMAGE) {
		attr->st_mode = S_IFREG | 0400;
		attr->st_size = (off_t)server.size;
	}
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	(void)userdata;
	conn->max_read = REQUEST_MAX;
	conn->max_background = REQUESTS_MAX;
	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.ino = IMAGE, .attr_timeout = FOREVER, .entry_timeout = FOREVER};

	(void)parent;
	(void)name;
	fill_attr(IMAGE, &e.attr);
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat attr;

	(void)fi;
	fill_attr(ino, &attr);
	fuse_reply_attr(req, &attr, FOREVER);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->keep_cache = 1;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	static _Thread_local char copy[REQUEST_MAX];
	const uint64_t at = (uint64_t)off;
	const char *bytes = buffer;

	(void)ino;
	(void)fi;
	if (size > REQUEST_MAX)
		size = REQUEST_MAX;
	if (at >= server.size)
		size = 0;
	else if (size > server.size - at)
		size = (size_t)(server.size - at);
	loop_note_read(server.loop, &(struct loop_read){.single = size >= REQUEST_MAX / 4});
	if (at < ALIGN) {
		bytes = metadata + at;
		size = size < ALIGN - at ? size : (size_t)(ALIGN - at);
	} else if (server.copied) {
		memcpy(copy, server.copied + at % (COPIED - REQUEST_MAX), size);
		bytes = copy;
	}
	fuse_reply_buf(req, bytes, size);
}

static const struct fuse_lowlevel_ops ops = {
    .init = op_init,
    .lookup = op_lookup,
    .getattr = op_getattr,
    .open = op_open,
    .read = op_read,
};

/* ---- the mounts ---- */

static void set_readahead(void)
{
	DIR *dir = opendir("/sys/class/bdi");
	const struct dirent *entry;
	unsigned newest = 0, n;
	char path[64];
	FILE *f;

	while (dir && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "erofs-%u", &n) == 1 && n > newest)
			newest = n;
	if (dir)
		closedir(dir);
	snprintf(path, sizeof(path), "/sys/class/bdi/erofs-%u/read_ahead_kb", newest);
	f = fopen(path, "we");
	if (!f || fprintf(f, "%u\n", server.readahead) < 0 || fclose(f))
		fprintf(stderr, "null_erofs: %s: %s; readahead stays as it is\n", path, strerror(errno));
}

/* Beside the session, which the kernel asks for the image. */
static void *mount_image(void *arg)
{
	char image[64];

	(void)arg;
	snprintf(image, sizeof(image), "%s/image", server.hidden);
	if (mount(image, server.mountpoint, "erofs", MS_RDONLY | MS_NOSUID | MS_NODEV, "directio") < 0) {
		fprintf(stderr, "null_erofs: %s: %s\n", server.mountpoint, strerror(errno));
		fuse_session_exit(server.session);
	} else if (server.readahead) {
		set_readahead();
	}
	umount2(server.hidden, MNT_DETACH);
	rmdir(server.hidden);
	return NULL;
}

static int serve(void)
{
	const struct loop_teams teams = {.ahead = server.team, .in_turn = 1};
	pthread_t mounter;
	int rc;

	server.loop = loop_new(server.session, THREADS_MAX, &teams);
	if (!server.loop || pthread_create(&mounter, NULL, mount_image, NULL))
		return 1;
	rc = loop_run(server.loop);
	pthread_join(mounter, NULL);
	loop_free(server.loop);
	return rc != 0;
}

static int parse(int argc, char **argv)
{
	char *end;
	int c;

	server.team = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	while ((c = getopt(argc, argv, "cfr:t:")) != -1) {
		if (c == 'c') {
			server.copied = malloc(COPIED);
			if (!server.copied)
				return -ENOMEM;
			memset(server.copied, 0x3c, COPIED);
		} else if (c == 'r') {
			server.readahead = (unsigned)strtoul(optarg, NULL, 10);
		} else if (c == 't') {
			server.team = (unsigned)strtoul(optarg, NULL, 10);
		} else if (c != 'f') {
			return -EINVAL;
		}
	}
	if (argc - optind < 2 || argc - optind - 1 > FILES_MAX || !server.team)
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
	char *words[] = {argv[0], "-o", "ro,nosuid,nodev,fsname=null,subtype=null,max_read=262144"};
	struct fuse_args args = FUSE_ARGS_INIT(3, words);
	int rc;

	if (parse(argc, argv)) {
		fprintf(stderr, "usage: null_erofs [-c (copy)] [-f] [-r READAHEAD_KIB] [-t TEAM] MOUNTPOINT SIZE...\n");
		return 2;
	}
	memset(buffer, 0x3c, sizeof(buffer));
	make_image();
	strcpy(server.hidden, "/tmp/null-erofs-XXXXXX");
	if (!mkdtemp(server.hidden)) {
		perror("null_erofs");
		return 1;
	}
	server.session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!server.session || fuse_session_mount(server.session, server.hidden)) {
		rmdir(server.hidden);
		return 1;
	}
	rc = serve();
	fuse_session_destroy(server.session);
	fuse_opt_free_args(&args);
	free(server.copied);
	return rc;
}
