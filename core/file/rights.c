/* SPDX-License-Identifier: MIT */
#include "file/rights.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/err.h"

#define ACL "system.posix_acl_access"

/* A list may give named users and groups less than the mode says, so only the owner's bits are reliable. */
static void heed_acl(struct stat *st, ssize_t len)
{
	if (len >= 0 || (errno != ENODATA && errno != ENOTSUP))
		st->st_mode &= ~(mode_t)077;
}

void rights_heed_acl(int fd, struct stat *st)
{
	heed_acl(st, fgetxattr(fd, ACL, NULL, 0));
}

/* Which classes have a permission: `bit` is 0400 for reading, 0100 for search. */
struct classes {
	bool user, group, other;
};

static struct classes classes_of(const struct stat *st, mode_t bit)
{
	return (struct classes){st->st_mode & bit, st->st_mode & bit >> 3, st->st_mode & bit >> 6};
}

/*
 * Keeps the classes of `st` all of whose members pass `gate`, where they may be in a different class: any user but the
 * owner of `st` may own it, and so on. The server's own user passes: it has opened the file.
 */
static void restrict_to(struct stat *st, const struct stat *gate, mode_t bit)
{
	const struct classes at = classes_of(gate, bit);
	const bool same_user = st->st_uid == gate->st_uid, same_group = st->st_gid == gate->st_gid;
	const bool not_owner = same_user || at.user;

	if (!(same_user ? at.user : (at.group && at.other) || st->st_uid == geteuid()))
		st->st_mode &= ~(mode_t)0700;
	if (!(not_owner && (same_group ? at.group : at.group && at.other)))
		st->st_mode &= ~(mode_t)0070;
	if (!(not_owner && at.other && (same_group || at.group)))
		st->st_mode &= ~(mode_t)0007;
}

void rights_meet(struct stat *st, const struct stat *other)
{
	restrict_to(st, other, 0400);
}

/* True if the directory of the first `len` bytes of `path` is this one, or above it. */
static bool leads_to(const char *path, size_t len, const char *base)
{
	return strncmp(path, base, len) == 0 && (!base[len] || base[len] == '/');
}

static int pass_directory(struct stat *st, const char *path, struct gptqfs_error *err)
{
	struct stat gate;

	if (TEMP_FAILURE_RETRY(stat(path, &gate)) < 0)
		return err_system(err, errno, "%s, on the way to the model", path);
	heed_acl(&gate, getxattr(path, ACL, NULL, 0));
	restrict_to(st, &gate, 0100);
	return 0;
}

int rights_reach(struct stat *st, int fd, const char *base, struct gptqfs_error *err)
{
	char link[32], path[PATH_MAX];
	ssize_t len;
	int rc = 0;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path));
	if (len <= 0 || len == sizeof(path) || path[0] != '/') {
		/* The path is unknown. */
		st->st_mode &= ~(mode_t)0777;
		return 0;
	}
	path[len] = 0;
	for (char *slash = path; rc == 0 && slash; slash = strchr(slash + 1, '/')) {
		if (base && leads_to(path, (size_t)(slash - path), base))
			continue;
		*slash = 0;
		rc = pass_directory(st, slash == path ? "/" : path, err);
		*slash = '/';
	}
	return rc;
}

static bool is_member(gid_t group)
{
	gid_t groups[NGROUPS_MAX];
	int count = getgroups(NGROUPS_MAX, groups);

	for (int i = 0; i < count; i++)
		if (groups[i] == group)
			return true;
	return group == getegid();
}

void rights_settle(struct stat *st)
{
	const struct classes may = classes_of(st, 0400);

	/* Root needs no bits, but if none is left the file should not appear to belong to another user. */
	if (geteuid() == 0            ? may.user || may.group || may.other
	    : st->st_uid == geteuid() ? may.user
	    : is_member(st->st_gid)   ? may.group
				      : may.other)
		return;
	st->st_uid = geteuid();
	st->st_gid = getegid();
	st->st_mode = (st->st_mode & S_IFMT) | (S_ISDIR(st->st_mode) ? 0500 : 0400);
}
