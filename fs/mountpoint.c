/* SPDX-License-Identifier: MIT */
#include "mountpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "log.h"

bool mountpoint_is_descriptor(const char *path)
{
	return strncmp(path, "/dev/fd/", 8) == 0;
}

int mountpoint_check(const char *given, char **path)
{
	const bool descriptor = mountpoint_is_descriptor(given);
	struct statvfs fs;
	struct stat st;

	*path = descriptor ? strdup(given) : realpath(given, NULL);
	/* stat alone could be answered from the kernel's memory of a mount whose server is gone. */
	if (*path && stat(*path, &st) == 0 && statvfs(*path, &fs) == 0) {
		if (S_ISDIR(st.st_mode) || descriptor)
			return 0;
		errno = ENOTDIR;
	}
	if (errno == ENOTCONN) {
		log_line("%s: a FUSE mount whose server died; clear it with: fusermount3 -uz '%s'", given, given);
		return -ENOTCONN;
	}
	if (errno == ENOENT)
		log_line("%s: no such directory; make it with: mkdir -p '%s'", given, given);
	else if (errno == ENOTDIR)
		log_line("%s: not a directory; the mountpoint must be one", given);
	else
		log_line("%s: %s; the mountpoint must be a directory this user may use", given, strerror(errno));
	return errno == EACCES ? -EACCES : -EINVAL;
}

void mountpoint_explain(const char *path)
{
	struct stat st;
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	if (fd < 0 && errno == ENOENT)
		log_line("there is no /dev/fuse; load the module (modprobe fuse), or give the container the device "
			 "(--device /dev/fuse --cap-add SYS_ADMIN)");
	else if (fd < 0)
		log_line("/dev/fuse: %s; this user may not use FUSE (or the container lacks --device /dev/fuse)",
		    strerror(errno));
	else if (geteuid() != 0 && stat(path, &st) == 0 && st.st_uid != geteuid())
		log_line("%s belongs to another user; mount on a directory of your own", path);
	else if (geteuid() != 0)
		log_line(
		    "mounting as a user needs fusermount3 (Debian: apt-get install fuse3), and for allow_other the line "
		    "user_allow_other in /etc/fuse.conf");
	else
		log_line("mounting needs CAP_SYS_ADMIN (in a container: --cap-add SYS_ADMIN)");
}

int mountpoint_wait(const char *path, dev_t *dev)
{
	struct stat st;

	if (mountpoint_is_descriptor(path))
		return -ENOTSUP;
	if (stat(path, &st) < 0)
		return -errno;
	*dev = st.st_dev;
	return 0;
}

unsigned mountpoint_readahead(dev_t dev, unsigned kib)
{
	char path[128];
	FILE *f;
	unsigned now = 0;
	int failed;

	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", major(dev), minor(dev));
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%u", &now) != 1)
			now = 0;
		fclose(f);
	}
	if (now == kib)
		return now;
	f = fopen(path, "we");
	failed = !f || fprintf(f, "%u\n", kib) < 0;
	if (f && fclose(f))
		failed = 1;
	if (failed)
		log_line("readahead stays at %u KiB, large reads will be slower; to raise it, as root: echo %u > %s",
		    now, kib, path);
	return failed ? now : kib;
}

/* Blanks, tabs and backslashes stand as \ooo in mountinfo. In place. */
static void unescape(char *path)
{
	char *to = path;
	unsigned octal;

	for (const char *from = path; *from; to++) {
		if (*from == '\\' && sscanf(from, "\\%3o", &octal) == 1) {
			*to = (char)octal;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

/* The device of what is mounted at `path` now: the last such line of mountinfo is the topmost. */
static int mounted_device(const char *path, dev_t *dev)
{
	char *line = NULL;
	size_t room = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	unsigned major_number, minor_number;
	char where[PATH_MAX];
	int rc = -ENOENT;

	if (!f)
		return -errno;
	while (getline(&line, &room, f) > 0) {
		if (sscanf(line, "%*d %*d %u:%u %*s %4095s", &major_number, &minor_number, where) != 3)
			continue;
		unescape(where);
		if (strcmp(where, path) == 0) {
			*dev = makedev(major_number, minor_number);
			rc = 0;
		}
	}
	free(line);
	fclose(f);
	return rc;
}

int mountpoint_detach(const char *path, dev_t dev)
{
	char *const argv[] = {"fusermount3", "-u", "-z", "-q", "--", (char *)path, NULL};
	char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", NULL};
	int rc, status;
	dev_t now;
	pid_t pid;

	rc = mounted_device(path, &now);
	if (rc || now != dev)
		return rc ? rc : -EBUSY;
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environment) != 0)
		return -EPERM;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}
