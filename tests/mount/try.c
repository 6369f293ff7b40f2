/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

/*
 * Linked into a server, tries from inside what its sandbox must refuse: reading the attribute user.gptqfs.try.NAME of
 * the root makes the try, and its value is the error. An export with TRY_EXPORT makes all tries when it has written its
 * files, and prints NAME=ERROR. TRY_SECCOMP=kill ends the process at any call that is refused; TRY_SECCOMP=none and
 * TRY_LANDLOCK=none are a kernel without them. With TRY_MESSAGES an idle server sends the helper what it must ignore.
 * With TRY_HANG a server never tells the attributes of a file, or reads an image. With TRY_LINK a server of an image
 * has a link to that path in place of the directories above. With TRY_BEHIND a server with a face names that file
 * without end. With TRY_DIE the process that mounts EROFS dies when it has done so. With
 * TRY_LATE a server of an image greets the kernel a second late. With TRY_OWNER all files seem to belong to that user,
 * as on a file system that shows all as one user's. With TRY_LARGE a server dies that takes larger requests than it can
 * answer. TRY_VIEW is the view that a server claims to show.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "../../fs/serve/channel.h"
#include "gptqfs.h"

struct face;
struct gptqfs;
struct server;
struct target;

ssize_t __real_status_get_attribute(const struct server *s, uint64_t ino, const char *name, char *out, size_t size);
ssize_t __wrap_status_get_attribute(const struct server *s, uint64_t ino, const char *name, char *out, size_t size);
int __real_target_complete(struct target *t);
int __wrap_target_complete(struct target *t);
void __real_gptqfs_trim(struct gptqfs *model);
void __wrap_gptqfs_trim(struct gptqfs *model);
int __real_poll(struct pollfd *polls, nfds_t count, int timeout);
int __wrap_poll(struct pollfd *polls, nfds_t count, int timeout);
extern const struct fuse_lowlevel_ops __real_ops, __real_pagecache_ops;
struct fuse_lowlevel_ops __wrap_ops, __wrap_pagecache_ops;
const char *__real_face_next(struct face *face, int number);
const char *__wrap_face_next(struct face *face, int number);
int __real_fstat(int fd, struct stat *st);
int __wrap_fstat(int fd, struct stat *st);
int __real_fstatat(int dir, const char *path, struct stat *st, int flags);
int __wrap_fstatat(int dir, const char *path, struct stat *st, int flags);
long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);

static void change_owner(struct stat *st)
{
	const char *owner = getenv("TRY_OWNER");

	if (owner)
		st->st_uid = (uid_t)atoi(owner);
}

int __wrap_fstat(int fd, struct stat *st)
{
	const int rc = __real_fstat(fd, st);

	if (rc == 0)
		change_owner(st);
	return rc;
}

int __wrap_fstatat(int dir, const char *path, struct stat *st, int flags)
{
	const int rc = __real_fstatat(dir, path, st, flags);

	if (rc == 0)
		change_owner(st);
	return rc;
}

static bool is_set(const char *variable, const char *value)
{
	const char *set = getenv(variable);

	return set && strcmp(set, value) == 0;
}

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	const struct sock_fprog *program = (const void *)c;
	long result;

	if ((number == SYS_seccomp && is_set("TRY_SECCOMP", "none")) ||
	    (number == SYS_landlock_create_ruleset && is_set("TRY_LANDLOCK", "none"))) {
		errno = ENOSYS;
		return -1;
	}
	if (number == SYS_seccomp && is_set("TRY_SECCOMP", "kill"))
		program->filter[program->len - 1].k = SECCOMP_RET_KILL_PROCESS;
	result = __real_syscall(number, a, b, c, d, e, f);
	if (number == SYS_move_mount && result == 0 && getenv("TRY_DIE"))
		raise(SIGKILL);
	return result;
}

/* It is the only socket. */
static void close_channel(void)
{
	struct stat st;

	for (int fd = 3; fd < 64; fd++)
		if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
			close(fd);
}

/* Another contact, and a refusal to be mounted. */
static void send_messages(void)
{
	for (int fd = 3; fd < 64; fd++) {
		channel_send(fd, MESSAGE_CONTACT, 0, NULL);
		channel_send(fd, MESSAGE_REFUSED, 0, "no reason");
	}
}

const char *__wrap_face_next(struct face *face, int number)
{
	const char *path = getenv("TRY_BEHIND");

	return path ? path : __real_face_next(face, number);
}

/* ---- operations that never answer ---- */

static void hang(void)
{
	for (;;)
		__real_poll(NULL, 0, -1);
}

static void hang_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)req;
	(void)ino;
	(void)fi;
	hang();
}

static void hang_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off, struct fuse_file_info *fi)
{
	(void)req;
	(void)ino;
	(void)size;
	(void)off;
	(void)fi;
	hang();
}

/* As libfuse offers where pages have 64 KiB. */
static void init_large(void *userdata, struct fuse_conn_info *conn)
{
	const unsigned given = conn->max_write;

	conn->max_write = 256 * 65536;
	__real_ops.init(userdata, conn);
	if (conn->max_write > GPTQFS_READ_MAX)
		abort();
	conn->max_write = conn->max_write < given ? conn->max_write : given;
}

static void init_late(void *userdata, struct fuse_conn_info *conn)
{
	__real_poll(NULL, 0, 1000);
	__real_pagecache_ops.init(userdata, conn);
}

/* ---- a link in the hidden mount ---- */

static void find_link(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	const struct fuse_entry_param e = {.ino = parent + 1, .attr = {.st_mode = S_IFLNK | 0777, .st_nlink = 1}};

	(void)name;
	fuse_reply_entry(req, &e);
}

static void read_link(fuse_req_t req, fuse_ino_t ino)
{
	(void)ino;
	fuse_reply_readlink(req, getenv("TRY_LINK"));
}

__attribute__((constructor)) static void set_operations(void)
{
	__wrap_ops = __real_ops;
	__wrap_pagecache_ops = __real_pagecache_ops;
	if (getenv("TRY_HANG")) {
		__wrap_ops.getattr = hang_getattr;
		__wrap_pagecache_ops.read = hang_read;
	}
	if (getenv("TRY_LARGE"))
		__wrap_ops.init = init_large;
	if (getenv("TRY_LATE"))
		__wrap_pagecache_ops.init = init_late;
	if (getenv("TRY_LINK")) {
		__wrap_pagecache_ops.lookup = find_link;
		__wrap_pagecache_ops.readlink = read_link;
	}
}

/* ---- giving back memory: soon, and counted ---- */

static atomic_int trims;

int __wrap_poll(struct pollfd *polls, nfds_t count, int timeout)
{
	return __real_poll(polls, count, timeout > 50 ? 50 : timeout);
}

void __wrap_gptqfs_trim(struct gptqfs *model)
{
	__real_gptqfs_trim(model);
	atomic_fetch_add(&trims, 1);
	if (getenv("TRY_MESSAGES"))
		send_messages();
}

/* ---- the tries: each returns what the call returned ---- */

static long try_read(void)
{
	return open("/etc/passwd", O_RDONLY);
}

static long try_list(void)
{
	return open("/etc", O_RDONLY | O_DIRECTORY);
}

static long try_create(void)
{
	return open("/tmp/gptqfs-try", O_WRONLY | O_CREAT, 0600);
}

static long try_write(void)
{
	return open(getenv("TRY_FILE"), O_WRONLY);
}

static long try_remove(void)
{
	return unlink(getenv("TRY_FILE"));
}

static long try_connect(void)
{
	const struct sockaddr_in to = {
	    .sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	const int fd = socket(AF_INET, SOCK_STREAM, 0);

	return fd < 0 ? fd : connect(fd, (const struct sockaddr *)&to, sizeof(to));
}

static long try_exec(void)
{
	char *const argv[] = {"true", NULL};

	return execv("/bin/true", argv);
}

static long try_mount(void)
{
	return mount("none", "/mnt", "tmpfs", 0, NULL);
}

static long try_unmount(void)
{
	return umount2(getenv("TRY_MOUNT"), MNT_DETACH);
}

static long try_ptrace(void)
{
	return ptrace(PTRACE_ATTACH, getppid(), 0, 0);
}

static long try_signal(void)
{
	return kill(getppid(), 0);
}

static long try_fork(void)
{
	const pid_t child = fork();

	if (child == 0)
		_exit(0);
	return child;
}

static long try_code(void)
{
	return (long)mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static const struct
try {
	const char *name;
	long (*make)(void);
}
tries[] = {
    {"read", try_read},
    {"list", try_list},
    {"create", try_create},
    {"write", try_write},
    {"remove", try_remove},
    {"connect", try_connect},
    {"exec", try_exec},
    {"mount", try_mount},
    {"unmount", try_unmount},
    {"ptrace", try_ptrace},
    {"signal", try_signal},
    {"fork", try_fork},
    {"code", try_code},
};

#define COUNT (sizeof(tries) / sizeof(*tries))

static const char *word_of(const struct try *t)
{
	return t->make() < 0 ? strerrorname_np(errno) : "done";
}

ssize_t __wrap_status_get_attribute(const struct server *s, uint64_t ino, const char *name, char *out, size_t size)
{
	static const char prefix[] = "user.gptqfs.try.";
	const char *view = getenv("TRY_VIEW");

	if (view && strcmp(name, "user.gptqfs.view") == 0)
		return size ? snprintf(out, size, "%s", view) : (ssize_t)strlen(view);
	if (strncmp(name, prefix, strlen(prefix)) != 0)
		return __real_status_get_attribute(s, ino, name, out, size);
	/* A value has one size for the call that asks for it and the one that fetches it; only the latter tries. */
	if (!size)
		return 16;
	if (size < 16)
		return -ERANGE;
	if (strcmp(name + strlen(prefix), "trims") == 0)
		return snprintf(out, size, "%d", atomic_load(&trims));
	if (strcmp(name + strlen(prefix), "hang_up") == 0) {
		close_channel();
		return snprintf(out, size, "done");
	}
	for (size_t i = 0; i < COUNT; i++)
		if (strcmp(name + strlen(prefix), tries[i].name) == 0)
			return snprintf(out, size, "%.15s", word_of(&tries[i]));
	return -ENODATA;
}

int __wrap_target_complete(struct target *t)
{
	for (size_t i = 0; getenv("TRY_EXPORT") && i < COUNT; i++)
		printf("%s=%s\n", tries[i].name, word_of(&tries[i]));
	fflush(stdout);
	return __real_target_complete(t);
}
