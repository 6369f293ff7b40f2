/* SPDX-License-Identifier: MIT */
#include "mount/mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <paths.h>
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
#include "mount/mountinfo.h"

bool mountpoint_is_descriptor(const char *path)
{
	return strncmp(path, "/dev/fd/", 8) == 0;
}

/* The mount at a path. */
struct mounted {
	dev_t dev;
	char type[64];
	char model[PATH_MAX]; /* empty if it is not of gptqfs */
};

/* Finds the last mount of the path, which is the topmost one. Returns 0, -ENOENT or -errno. */
static int mounted_at(const char *path, struct mounted *out)
{
	struct mountinfo m;
	const char *model;
	int rc = mountinfo_open(&m), found = -ENOENT;

	if (rc)
		return rc;
	while ((rc = mountinfo_next(&m)) == 1)
		if (strcmp(m.where, path) == 0) {
			out->dev = m.dev;
			snprintf(out->type, sizeof(out->type), "%s", m.type);
			model = mountinfo_model(&m);
			snprintf(out->model, sizeof(out->model), "%s", model ? model : "");
			found = 0;
		}
	mountinfo_close(&m);
	return rc < 0 ? rc : found;
}

/* EROFS's name may be cut. That of a cache entry is the path of its snapshot. */
static bool is_name_of(const char *name, const char *model)
{
	static const char snapshots[] = "/snapshots/", cut[] = MOUNTINFO_CUT;
	const size_t len = strlen(model), most = strlen(name) - strlen(cut);

	if (strcmp(name, model) == 0)
		return true;
	if (strncmp(name, model, len) == 0)
		return strncmp(name + len, snapshots, strlen(snapshots)) == 0;
	return strlen(name) == MOUNTINFO_EROFS_MAX - 1 && strcmp(name + most, cut) == 0 &&
	       strncmp(name, model, most) == 0;
}

bool mountpoint_shows(const char *given, const char *source)
{
	char *path = realpath(given, NULL), *model = realpath(source, NULL);
	struct mounted m;
	const bool shows = path && model && mounted_at(path, &m) == 0 && *m.model && is_name_of(m.model, model);

	free(path);
	free(model);
	return shows;
}

/*
 * For what the table lacks: all where there is no /proc, and lines that the kernel skips while mounts come and go. Asks
 * no server. Returns 0, -ENOENT or -errno.
 */
static int device_of_root(const char *path, dev_t *dev)
{
	struct statx st;

	if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT | AT_SYMLINK_NOFOLLOW, 0, &st) < 0)
		return -errno;
	if (!(st.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return -ENOENT;
	*dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	return 0;
}

int mountpoint_device(const char *path, dev_t *dev)
{
	struct mounted m;
	const int rc = mountpoint_is_descriptor(path) ? -ENOTSUP : mounted_at(path, &m);

	if (rc == -ENOENT)
		return device_of_root(path, dev);
	if (rc == 0)
		*dev = m.dev;
	return rc;
}

int mountpoint_check(const char *given, char **path)
{
	const bool descriptor = mountpoint_is_descriptor(given);
	struct statvfs fs;
	struct mounted m;
	struct stat st;
	int error;

	*path = descriptor ? strdup(given) : realpath(given, NULL);
	/* stat alone may be answered from the kernel's cache even if the server is dead. */
	if (*path && stat(*path, &st) == 0 && statvfs(*path, &fs) == 0) {
		if (S_ISDIR(st.st_mode) && mounted_at(*path, &m) == 0 && *m.model)
			log_hint("%s: a model is mounted there already; this mount will hide it until it is unmounted",
			    given);
		if (S_ISDIR(st.st_mode) || descriptor)
			return 0;
		errno = ENOTDIR;
	}
	/* A message changes it if it cannot be written. */
	error = errno;
	if (error == ENOTCONN) {
		log_line("%s: a FUSE mount whose server died; clear it with: fusermount3 -uz '%s'", given, given);
		return -ENOTCONN;
	}
	if (error == ENOENT)
		log_line("%s: no such directory; make it with: mkdir -p '%s'", given, given);
	else if (error == ENOTDIR)
		log_line("%s: not a directory; the mountpoint must be one", given);
	else
		log_line("%s: %s; the mountpoint must be a directory this user may use", given, strerror(error));
	return error == EACCES ? -EACCES : -EINVAL;
}

bool mountpoint_holds_model(const char *given)
{
	static const char weights[] = ".safetensors";
	DIR *dir = opendir(given);
	const struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		const size_t len = strlen(entry->d_name);

		found = len >= sizeof(weights) && strcmp(entry->d_name + len - strlen(weights), weights) == 0;
	}
	if (dir)
		closedir(dir);
	return found;
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
	log_line(
	    "where nothing can be mounted, write a view to a directory: gptqfs --export=DIR [-o view=NAME] MODEL_DIR");
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
		log_hint("readahead stays at %u KiB, large reads will be slower; to raise it, as root: echo %u > %s",
		    now, kib, path);
	return failed ? now : kib;
}

/* Unmounts for a user by fusermount3, which is setuid. Returns 0 or -EPERM. */
static int run_fusermount(const char *path, const char *flags)
{
	char *const argv[] = {"fusermount3", "-u", (char *)flags, "--", (char *)path, NULL};
	char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin", NULL};
	int status;
	pid_t pid;

	if (posix_spawnp(&pid, argv[0], NULL, NULL, argv, environment) != 0)
		return -EPERM;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (access(_PATH_MOUNTED, R_OK) < 0)
		log_hint("%s: without " _PATH_MOUNTED " fusermount3 finds no mounts; make it, as root, with: "
			 "ln -s /proc/self/mounts " _PATH_MOUNTED,
		    path);
	return -EPERM;
}

int mountpoint_detach(const char *path, dev_t dev)
{
	dev_t now;
	const int rc = mountpoint_device(path, &now);

	if (rc || now != dev)
		return rc ? rc : -EBUSY;
	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) == 0)
		return 0;
	return run_fusermount(path, "-zq");
}

/*
 * Returns the canonical path of a mountpoint, which cannot itself be examined if its server is dead. NULL with errno
 * set on failure.
 */
static char *canonical(const char *given)
{
	char *path = realpath(given, NULL), *copy, *slash, *parent = NULL;

	if (path || errno != ENOTCONN)
		return path;
	copy = strdup(given);
	for (size_t n = copy ? strlen(copy) : 0; n > 1 && copy[n - 1] == '/'; n--)
		copy[n - 1] = 0;
	slash = copy ? strrchr(copy, '/') : NULL;
	if (slash)
		*slash = 0;
	if (copy)
		parent = realpath(slash ? *copy ? copy : "/" : ".", NULL);
	if (parent && asprintf(&path, "%s/%s", parent[1] ? parent : "", slash ? slash + 1 : copy) < 0)
		path = NULL;
	free(parent);
	free(copy);
	return path;
}

int mountpoint_unmount(const char *given)
{
	char *path = canonical(given);
	struct mounted m;
	int rc = path ? mounted_at(path, &m) : -errno;

	if (!path)
		log_line("%s: %s", given, strerror(-rc));
	else if (rc)
		log_line("%s: nothing is mounted there", given);
	else if (!*m.model) {
		log_line("%s: a mount of type %s, not of gptqfs; unmount it with: umount '%s'", given, m.type, given);
		rc = -EINVAL;
	} else if (umount2(path, UMOUNT_NOFOLLOW) < 0) {
		rc = -errno;
		if (rc == -EPERM)
			rc = run_fusermount(path, "-q");
		if (rc == -EBUSY)
			log_line(
			    "%s: in use; end the programs that fuser -m '%s' lists, or detach it while they finish "
			    "with: fusermount3 -uz '%s'",
			    given, given, given);
		else if (rc)
			log_line("%s: cannot be unmounted by this user, or is in use; try: fusermount3 -u '%s'", given,
			    given);
	}
	free(path);
	return rc;
}
