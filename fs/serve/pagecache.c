/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "serve/pagecache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "serve/face.h"
#include "log.h"
#include "serve/loop.h"
#include "mount/mountinfo.h"
#include "mount/mountpoint.h"
#include "options.h"
#include "serve/server.h"
#include "offline/workers.h"

/* Linux 5.14; older headers lack it. */
#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif

#define FOREVER 1e9
#define BLOCK 4096
#define TEAM_MIN (64u << 10) /* smaller requests are those of random readers */
#define REQUESTS_MAX 64      /* at a time; the kernel's default of 12 has three sequential readers wait */
#define SOURCE_MAX (sizeof(MOUNTINFO_EROFS) - 1 + MOUNTINFO_EROFS_MAX)

/*
 * The image has the name under which the mount table shows it, "gptqfs:/models/Llama". To the kernel that is a relative
 * path, so there are directories as deep as it has slashes. A name that is too long ends in "...": a file's name cannot
 * end in a slash.
 */
static void name_image(char name[SOURCE_MAX], const char *source)
{
	static const char cut[] = MOUNTINFO_CUT;

	if ((size_t)snprintf(name, SOURCE_MAX, MOUNTINFO_EROFS "%s", source) >= SOURCE_MAX)
		memcpy(name + SOURCE_MAX - sizeof(cut), cut, sizeof(cut));
}

const char *pagecache_name(const struct options *o, const char *source)
{
	return o->fsname && !o->face ? o->fsname : source;
}

/* ---- the session ---- */

/* Inodes are numbered by depth: the image is the last, all others are directories. */
static fuse_ino_t image_ino(const struct server *server)
{
	char name[SOURCE_MAX];
	fuse_ino_t ino = FUSE_ROOT_ID;

	name_image(name, server->image_name);
	for (const char *at = name; *at; ino++)
		at += strspn(at + strcspn(at, "/"), "/") + strcspn(at, "/");
	return ino;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct server *server = userdata;

	conn->want &= ~(unsigned)FUSE_CAP_AUTO_INVAL_DATA;
	conn->max_read = server->max_read;
	conn->max_background = REQUESTS_MAX;
	if (write(server->event, "i", 1) < 0)
		return;
}

static void describe(const struct server *server, fuse_ino_t ino, struct stat *out)
{
	const bool image = ino == image_ino(server);

	*out = (struct stat){
	    .st_ino = ino,
	    .st_mode = image ? S_IFREG | 0400 : S_IFDIR | 0500,
	    .st_nlink = 1,
	    .st_size = image ? (off_t)gptqfs_image_size(server->image) : 0,
	    .st_blksize = BLOCK,
	};
}

/* Only this program can look anything up, so any name will do. */
static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = {.ino = parent + 1, .attr_timeout = FOREVER, .entry_timeout = FOREVER};
	const struct server *server = fuse_req_userdata(req);

	(void)name;
	if (parent >= image_ino(server)) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	describe(server, e.ino, &e.attr);
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat attr;

	(void)fi;
	describe(fuse_req_userdata(req), ino, &attr);
	fuse_reply_attr(req, &attr, FOREVER);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	fi->keep_cache = 1;
	fi->noflush = 1;
	fuse_reply_open(req, fi);
}

/* Metadata, and a request for more than one file, which is rare, are copied. */
static void reply_copied(fuse_req_t req, size_t size, uint64_t offset)
{
	const struct server *server = fuse_req_userdata(req);
	char *bytes = malloc(size);
	int rc = bytes ? gptqfs_image_read(server->image, offset, size, bytes) : -ENOMEM;

	if (rc)
		fuse_reply_err(req, -rc);
	else
		fuse_reply_buf(req, bytes, size);
	free(bytes);
}

/* Bytes of one file, from `span` on, and zeros to the end of its last block. */
static void reply_file(fuse_req_t req, const struct gptqfs_image_span *span, size_t size)
{
	static const char zeros[BLOCK];
	const struct server *server = fuse_req_userdata(req); /* the request is freed by the reply */
	struct gptqfs *model = server->model;
	struct iovec iov[GPTQFS_IOV_MAX + 1];
	struct gptqfs_reply reply;
	bool more;
	int rc, count;

	loop_note_read(server->loop, &(struct loop_read){.single = size >= TEAM_MIN});
	rc = gptqfs_read(model, span->ino, span->offset, span->bytes, &reply);
	if (rc) {
		fuse_reply_err(req, -rc);
		return;
	}
	count = reply.count;
	memcpy(iov, reply.iov, (size_t)count * sizeof(*iov));
	if (reply.bytes < size)
		iov[count++] = (struct iovec){(void *)zeros, size - reply.bytes};
	fuse_reply_iov(req, iov, count);
	more = gptqfs_read_done(model, &reply);
	while (more && loop_is_quiet(server->loop))
		more = gptqfs_work(model);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	const struct server *server = fuse_req_userdata(req);
	const uint64_t offset = (uint64_t)off, total = gptqfs_image_size(server->image);
	struct gptqfs_image_span span;
	int rc;

	(void)ino;
	(void)fi;
	if (offset >= total)
		size = 0;
	else if (size > total - offset)
		size = (size_t)(total - offset);
	rc = gptqfs_image_find(server->image, offset, size, &span);
	if (rc)
		fuse_reply_err(req, -rc);
	else if (!size)
		fuse_reply_buf(req, NULL, 0);
	else if (span.ino && size - span.bytes < BLOCK && (offset + size) % BLOCK == 0 && size <= GPTQFS_READ_MAX)
		reply_file(req, &span, size);
	else
		reply_copied(req, size, offset);
}

struct loop_teams pagecache_teams(void)
{
	return (struct loop_teams){.ahead = workers_count(0), .in_turn = 1};
}

const struct fuse_lowlevel_ops pagecache_ops = {
    .init = op_init,
    .lookup = op_lookup,
    .getattr = op_getattr,
    .open = op_open,
    .read = op_read,
};

/* ---- the mount calls, which older C libraries lack ---- */

static int open_context(const char *type)
{
	const long fd = syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);

	return fd < 0 ? -errno : (int)fd;
}

static int configure(int context, unsigned command, const char *key, const char *value)
{
	return syscall(SYS_fsconfig, context, command, key, value, 0) < 0 ? -errno : 0;
}

static int set_string(int context, const char *key, const char *value)
{
	return configure(context, FSCONFIG_SET_STRING, key, value);
}

static int set_number(int context, const char *key, unsigned value)
{
	char text[16];

	snprintf(text, sizeof(text), "%u", value);
	return set_string(context, key, text);
}

static int set_flag(int context, const char *key)
{
	return configure(context, FSCONFIG_SET_FLAG, key, NULL);
}

/* Makes a mount that is nowhere. Returns a descriptor or -errno. */
static int make_mount(int context, unsigned attributes)
{
	const int rc = configure(context, FSCONFIG_CMD_CREATE, NULL, NULL);
	long fd;

	if (rc)
		return rc;
	fd = syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes);
	return fd < 0 ? -errno : (int)fd;
}

static int attach(int mount, const char *path)
{
	return syscall(SYS_move_mount, mount, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

/* Sets the reason, with what the kernel has to say about a context, if anything. Returns rc. */
static int explain(struct gptqfs_error *err, int rc, int context, const char *what)
{
	char told[512];
	const ssize_t n = context >= 0 ? read(context, told, sizeof(told) - 1) : -1;

	told[n > 0 ? n : 0] = 0;
	told[strcspn(told, "\n")] = 0;
	snprintf(err->text, sizeof(err->text), "%s: %s%s%s", what, strerror(-rc), *told ? "; the kernel says: " : "",
	    strlen(told) > 2 ? told + 2 : told);
	return rc;
}

/* ---- choosing ---- */

/* True for releases with the fix of CVE-2026-23224, a use after free. */
static bool is_fixed(const char *release)
{
	static const struct {
		unsigned major, minor, patch;
	} fixed[] = {{6, 12, 72}, {6, 18, 11}, {6, 19, 1}};
	unsigned major = 0, minor = 0, patch = 0;

	sscanf(release, "%u.%u.%u", &major, &minor, &patch);
	for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		if (major == fixed[i].major && minor == fixed[i].minor)
			return patch >= fixed[i].patch;
	return major >= 7;
}

static int check_kernel(struct gptqfs_error *err)
{
	struct utsname system;
	int context, rc;

	if (uname(&system) < 0 || !is_fixed(system.release)) {
		snprintf(err->text, sizeof(err->text),
		    "Linux %s may crash because of it (CVE-2026-23224); fixed in 6.12.72, 6.18.11, 6.19.1 and 7.0",
		    system.release);
		return -ENOTSUP;
	}
	context = open_context("erofs");
	if (context == -EPERM)
		return explain(err, context, -1, "it needs root (CAP_SYS_ADMIN outside of containers)");
	if (context < 0)
		return explain(err, context, -1, "this kernel has no EROFS");
	rc = set_flag(context, "directio");
	if (rc)
		explain(err, rc, context, "EROFS cannot read a file directly");
	close(context);
	return rc;
}

/* True for a name that can be a path: of components that are names, not only dots. */
static bool is_path(const char *name)
{
	size_t len;

	for (; *name; name += len) {
		name += strspn(name, "/");
		len = strcspn(name, "/");
		if (len == 0 || (len == strspn(name, ".") && len < 3))
			return false;
	}
	return true;
}

static bool is_automatic(const struct options *o)
{
	return o->pagecache && strcmp(o->pagecache, "auto") == 0;
}

bool pagecache_fall_back(struct options *o, const char *reason)
{
	o->erofs = o->face = false;
	o->model.ahead = loop_threads(&o->teams);
	if (!is_automatic(o)) {
		log_line("pagecache=%s: %s", o->pagecache, reason);
		return false;
	}
	snprintf(o->page_cache, sizeof(o->page_cache), "FUSE's, not EROFS's: %s", reason);
	o->model.page_cache = o->page_cache;
	if (o->foreground)
		log_hint("pagecache=auto: fuse; not erofs: %s", reason);
	return true;
}

int pagecache_choose(struct options *o, const char *mountpoint)
{
	struct gptqfs_error err;
	int rc = 0;

	if (!o->pagecache || strcmp(o->pagecache, "fuse") == 0)
		return 0;
	if (o->direct_io || mountpoint_is_descriptor(mountpoint)) {
		rc = -EINVAL;
		snprintf(err.text, sizeof(err.text), "%s",
		    o->direct_io ? "direct_io bypasses the page cache" : "the mount exists already, and is FUSE's");
	}
	if (rc == 0 && o->fsname && !face_is_built() && !is_path(o->fsname)) {
		rc = -EINVAL;
		snprintf(err.text, sizeof(err.text),
		    "fsname=%.200s: the kernel treats it as a path, which it cannot be", o->fsname);
	}
	if (rc == 0)
		rc = check_kernel(&err);
	if (rc)
		return pagecache_fall_back(o, err.text) ? 0 : rc;
	o->erofs = true;
	o->face = face_is_built();
	o->model.ahead = GPTQFS_AHEAD_NONE;
	o->model.page_cache =
	    o->face ? "EROFS's, below FUSE: a file that is open cannot be opened again with O_DIRECT"
		    : "EROFS's: there is no file `status` (SIGUSR1 logs the counters) and no O_DIRECT, and "
		      "gguf or mlx only if -o view= names it";
	if (is_automatic(o) && o->foreground)
		log_hint("pagecache=auto: erofs");
	return 0;
}

/* ---- the mounts ---- */

static int configure_hidden(int context, const struct options *o, int device)
{
	int rc = set_string(context, "source", "gptqfs");

	if (rc == 0)
		rc = set_string(context, "subtype", "gptqfs");
	if (rc == 0)
		rc = set_number(context, "fd", (unsigned)device);
	if (rc == 0)
		rc = set_string(context, "rootmode", "40000");
	if (rc == 0)
		rc = set_number(context, "user_id", geteuid());
	if (rc == 0)
		rc = set_number(context, "group_id", getegid());
	if (rc == 0)
		rc = set_number(context, "max_read", o->max_read ? o->max_read : PAGECACHE_REQUEST);
	if (rc == 0)
		rc = set_flag(context, "ro");
	return rc;
}

static unsigned attributes_of(const struct options *o)
{
	return MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | (o->noexec ? MOUNT_ATTR_NOEXEC : 0);
}

int pagecache_open(struct pagecache *p, const struct options *o, int *device, struct gptqfs_error *err)
{
	int context, rc;

	*device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (*device < 0)
		return explain(err, -errno, -1, "/dev/fuse");
	context = open_context("fuse");
	rc = context < 0 ? context : configure_hidden(context, o, *device);
	if (rc == 0) {
		/* A link in it, by a server that was taken over, would be followed with the rights of this process. */
		p->hidden = make_mount(context, attributes_of(o) | MOUNT_ATTR_NOSYMFOLLOW);
		rc = p->hidden < 0 ? p->hidden : 0;
	}
	if (rc) {
		explain(err, rc, context, "the FUSE mount below EROFS cannot be made");
		close(*device);
		*device = -1;
	}
	if (context >= 0)
		close(context);
	return rc;
}

static void close_one(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void pagecache_close(struct pagecache *p)
{
	close_one(&p->hidden);
	close_one(&p->image);
	close_one(&p->device);
}

/*
 * The kernel numbers mounts in the order in which they are made, but does not say which is which. Returns the number of
 * the only EROFS mount newer than `before`, or of the newest one if there are several and `several` is set; else 0.
 */
static unsigned newest_number(int devices, unsigned before, bool several)
{
	DIR *dir = fdopendir(openat(devices, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	const struct dirent *entry;
	unsigned newest = before, n;
	size_t count = 0;

	while (dir && (entry = readdir(dir)))
		if (sscanf(entry->d_name, "erofs-%u", &n) == 1 && n > before) {
			count++;
			newest = n > newest ? n : newest;
		}
	if (dir)
		closedir(dir);
	return count == 1 || (count && several) ? newest : 0;
}

/* Returns the resulting readahead in KiB, 0 if unknown. */
static unsigned set_readahead(int devices, unsigned number, unsigned kib)
{
	char name[64], value[16];
	const int len = snprintf(value, sizeof(value), "%u\n", kib);
	int fd;
	bool done;

	snprintf(name, sizeof(name), "erofs-%u/read_ahead_kb", number);
	fd = openat(devices, name, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	done = write(fd, value, (size_t)len) == len;
	close(fd);
	return done ? kib : 0;
}

/* With the hidden mount as the working directory, which is where the kernel looks for the source. */
static int make_erofs(const struct pagecache *p, const struct options *o, const char *source, struct gptqfs_error *err)
{
	const int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC), context = open_context("erofs");
	char name[SOURCE_MAX];
	int rc = context < 0 ? context : 0, fd;

	name_image(name, source);
	if (rc == 0)
		rc = set_string(context, "source", name);
	if (rc == 0)
		rc = set_flag(context, "directio");
	if (rc == 0)
		rc = set_flag(context, "ro");
	if (rc == 0 && fchdir(p->hidden) < 0)
		rc = -errno;
	fd = rc ? rc : make_mount(context, attributes_of(o));
	if ((before < 0 || fchdir(before) < 0) && chdir("/") < 0)
		log_line("/: %s", strerror(errno));
	if (fd < 0)
		explain(err, fd, context, "EROFS cannot be mounted from a FUSE file");
	if (before >= 0)
		close(before);
	if (context >= 0)
		close(context);
	return fd;
}

/* For 5 s: another may wait for a server that never answers. */
static bool lock(int fd)
{
	const struct timespec pause = {.tv_nsec = 50L * 1000 * 1000};

	for (int i = 0; i < 100; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return true;
		if (errno != EWOULDBLOCK)
			return false;
		nanosleep(&pause, NULL);
	}
	return false;
}

int pagecache_mount(struct pagecache *p, const struct options *o, struct pagecache_mount *m, struct gptqfs_error *err)
{
	const int devices = open("/sys/class/bdi", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Against other servers that do the same. */
	const bool alone = devices >= 0 && lock(devices);
	const unsigned before = alone ? newest_number(devices, 0, true) : 0;
	const unsigned wanted = m->readahead;
	int fd = make_erofs(p, o, m->source, err);
	int rc = fd < 0 || !m->path ? fd : attach(fd, m->path);
	unsigned number;

	if (fd >= 0 && rc)
		explain(err, rc, -1, m->path);
	number = rc >= 0 && alone ? newest_number(devices, before, false) : 0;
	m->readahead = number ? set_readahead(devices, number, wanted) : 0;
	if (rc >= 0 && m->readahead != wanted)
		log_hint(
		    "the readahead of %s could not be set; to do so: echo %u > /sys/class/bdi/erofs-N/read_ahead_kb",
		    m->source, wanted);
	if (!m->path) {
		p->image = fd;
		fd = -1;
	}
	close_one(&fd);
	if (devices >= 0)
		close(devices);
	close_one(&p->hidden);
	return rc < 0 ? rc : 0;
}
