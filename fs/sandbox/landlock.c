/* SPDX-License-Identifier: MIT */
#include "sandbox/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The interface of the kernel; older headers lack part of it. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule 445
#define SYS_landlock_restrict_self 446
#endif

#define VERSION 1u      /* flag: return the ABI */
#define PATH_BENEATH 1u /* type of a rule */

struct ruleset {
	uint64_t files, network, scopes;
};

struct path_rule {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

#define EXECUTE (1ull << 0)
#define WRITE_FILE (1ull << 1)
#define READ_FILE (1ull << 2)
#define READ_DIR (1ull << 3)
#define REMOVE_DIR (1ull << 4)
#define REMOVE_FILE (1ull << 5)
#define MAKE_DIR (1ull << 7)
#define MAKE_REG (1ull << 8)
#define TRUNCATE (1ull << 14)
#define IOCTL_DEV (1ull << 15)

#define READING (EXECUTE | READ_FILE | READ_DIR)
#define OF_FILES (EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV)
#define NETWORK 3ull /* TCP: bind, connect */
#define SCOPES 3ull  /* abstract sockets, signals */

/* All rights on files that an ABI knows. */
static uint64_t files_of(int abi)
{
	static const unsigned bits[] = {13, 14, 15, 15, 16};
	const unsigned last = sizeof(bits) / sizeof(*bits);

	return (1ull << bits[(unsigned)abi > last ? last - 1 : (unsigned)abi - 1]) - 1;
}

int landlock_start(struct landlock *l, bool only_writing)
{
	struct ruleset set = {.network = NETWORK, .scopes = SCOPES};
	size_t size = sizeof(set);

	l->abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, VERSION);
	if (l->abi <= 0)
		return l->abi < 0 ? -errno : -ENOSYS;
	if (l->abi < 6)
		size = l->abi < 4 ? sizeof(set.files) : sizeof(set.files) + sizeof(set.network);
	l->handled = set.files = files_of(l->abi) & ~(only_writing ? READING : 0);
	l->rules = (int)syscall(SYS_landlock_create_ruleset, &set, size, 0);
	return l->rules < 0 ? -errno : 0;
}

static uint64_t rights_of(enum landlock_access access)
{
	switch (access) {
	case LANDLOCK_DEVICE:
		return READ_FILE | READ_DIR | WRITE_FILE | IOCTL_DEV;
	case LANDLOCK_WRITE:
		return READ_FILE | READ_DIR | WRITE_FILE | TRUNCATE | REMOVE_FILE | REMOVE_DIR | MAKE_DIR | MAKE_REG;
	case LANDLOCK_REMOVE:
		return REMOVE_DIR;
	default:
		return READ_FILE | READ_DIR;
	}
}

int landlock_allow(const struct landlock *l, const char *path, enum landlock_access access)
{
	struct path_rule rule = {.parent = open(path, O_PATH | O_CLOEXEC)};
	struct stat st;
	int rc = 0;

	/* What is missing or inaccessible is reported when it is needed. */
	if (rule.parent < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES || errno == ELOOP ? 0 : -errno;
	rule.allowed = rights_of(access) & l->handled;
	if (fstat(rule.parent, &st) == 0 && !S_ISDIR(st.st_mode))
		rule.allowed &= OF_FILES;
	if (rule.allowed && syscall(SYS_landlock_add_rule, l->rules, PATH_BENEATH, &rule, 0) < 0)
		rc = -errno;
	close(rule.parent);
	return rc;
}

int landlock_finish(struct landlock *l)
{
	const int rc = syscall(SYS_landlock_restrict_self, l->rules, 0) < 0 ? -errno : 0;

	close(l->rules);
	return rc;
}
