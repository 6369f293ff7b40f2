/* SPDX-License-Identifier: MIT */
#include "offline/target.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "offline/rival.h"

/* Views have no names that begin with a dot, so these cannot be names of theirs; refuse_name makes sure. */
#define JOURNAL ".gptqfs-export"
#define PART ".gptqfs-part-"
#define PART_NAME_MAX (sizeof(PART) + 16)
#define PARENTS_MAX 4096

/* An open never blocks, follows a link, or makes something the controlling terminal. */
#define CAREFUL (O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)

static void part_name(char name[PART_NAME_MAX], size_t number)
{
	snprintf(name, PART_NAME_MAX, PART "%zx", number);
}

/* True for a dot name; *number is its entry's. */
static bool is_part(const char *name, size_t *number)
{
	const size_t length = sizeof(PART) - 1;
	char again[PART_NAME_MAX];

	if (strncmp(name, PART, length) != 0)
		return false;
	*number = strtoul(name + length, NULL, 16);
	part_name(again, *number);
	return strcmp(name, again) == 0;
}

/* True for a file that may be written in place: it has no other name, and nobody else owns it. */
static bool is_reusable(const struct target *t, const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_nlink == 1 && st->st_uid == t->owner;
}

/* Opens the directory of an entry's children; number 0 is the target itself. */
static int open_directory(const struct target *t, const struct entries *entries, size_t number)
{
	size_t chain[ENTRY_DEPTH_MAX];
	unsigned depth = 0;
	int fd = openat(t->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), parent, error;

	for (size_t i = number; i; i = entries->list[i].parent)
		chain[depth++] = i;
	while (fd >= 0 && depth) {
		parent = fd;
		fd = openat(parent, entries->list[chain[--depth]].name, O_RDONLY | O_DIRECTORY | CAREFUL);
		error = errno;
		close(parent);
		errno = error;
	}
	return fd < 0 ? -errno : fd;
}

static int open_parent(const struct target *t, const struct entries *entries, size_t number)
{
	return open_directory(t, entries, entries->list[number].parent);
}

/* Logs that something about an entry failed. Returns rc. */
static int complain(const struct target *t, const struct entries *entries, size_t number, int rc)
{
	char *path = entries_path(entries, number);

	log_line("%s/%s: %s", t->path, path ? path : "", strerror(-rc));
	free(path);
	return rc;
}

/* ---- the directory ---- */

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

static bool is_source(const struct target *t, int fd)
{
	struct stat st, source;

	return fstat(fd, &st) == 0 && stat(t->source, &source) == 0 && is_same_file(&st, &source);
}

/* True if the target is the model's directory or below it. Writing there would change what is being read. */
static bool is_in_source(const struct target *t)
{
	int fd = openat(t->fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), parent;
	bool inside = false, is_root = false;
	struct stat st, above;

	for (int i = 0; i < PARENTS_MAX && fd >= 0 && !is_root; i++) {
		inside = is_source(t, fd);
		if (inside)
			break;
		parent = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		is_root = parent < 0 || fstat(fd, &st) < 0 || fstat(parent, &above) < 0 || is_same_file(&st, &above);
		close(fd);
		fd = parent;
	}
	if (fd >= 0)
		close(fd);
	return inside;
}

/* True for what mkfs puts into a new file system. */
static bool is_of_mkfs(const char *name)
{
	return strcmp(name, "lost+found") == 0;
}

/* Finds a file that the directory holds. Returns 1, 0 if it is empty, or -errno. */
static int find_any(int dir, char name[256])
{
	const int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	int rc = 0;

	if (!d) {
		rc = -errno;
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (rc == 0) {
		errno = 0;
		entry = readdir(d);
		if (!entry) {
			rc = -errno;
			break;
		}
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 || is_of_mkfs(entry->d_name))
			continue;
		snprintf(name, 256, "%s", entry->d_name);
		rc = 1;
	}
	closedir(d);
	return rc;
}

int target_make(struct target *t)
{
	int rc;

	t->journal = -1;
	t->made = t->resumed = t->holds = false;
	t->umask = umask(0);
	umask(t->umask);
	t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (t->fd < 0 && errno == ENOENT && mkdir(t->path, 0777) == 0) {
		t->made = true;
		t->fd = open(t->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	if (t->fd >= 0)
		return 0;
	rc = -errno;
	if (rc == -ENOENT)
		log_line("%s: its parent directory does not exist; make that first (mkdir -p)", t->path);
	else
		log_line("%s: %s", t->path, strerror(-rc));
	return rc;
}

/* Opens the journal of an earlier export, or makes one. */
static int open_journal(struct target *t)
{
	char name[256];
	int rc;

	t->journal = openat(t->fd, JOURNAL, O_RDWR | CAREFUL);
	if (t->journal >= 0) {
		t->resumed = t->holds = true;
		return 0;
	}
	rc = -errno;
	if (rc == -ENOENT) {
		rc = find_any(t->fd, name);
		t->holds = rc == 1;
	}
	if (rc == 1 && !t->force) {
		log_line(
		    "%s is not empty (%s); give an empty or new directory, or --force to replace files of the same name",
		    t->path, name);
		return -ENOTEMPTY;
	}
	if (rc >= 0) {
		t->journal = openat(t->fd, JOURNAL, O_RDWR | O_CREAT | O_EXCL | CAREFUL, 0600);
		rc = t->journal < 0 ? -errno : 0;
	}
	if (rc < 0)
		log_line("%s/%s: %s", t->path, JOURNAL, strerror(-rc));
	return rc;
}

/* Makes a file to see whom it belongs to: network file systems, and those without owners, show another user. */
static int try_owner(struct target *t)
{
	char name[PART_NAME_MAX];
	struct stat st;
	int fd, rc = 0;

	/* The number of the root, which has no file. */
	part_name(name, 0);
	unlinkat(t->fd, name, 0);
	fd = openat(t->fd, name, O_WRONLY | O_CREAT | O_EXCL | CAREFUL, 0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		rc = -errno;
	else
		t->owner = st.st_uid;
	close(fd);
	unlinkat(t->fd, name, 0);
	return rc;
}

static int lock_journal(struct target *t)
{
	struct stat st;
	int rc = 0;

	/* Some network file systems have no locks. */
	if (flock(t->journal, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK) {
		log_line("%s: another export is writing there", t->path);
		return -EBUSY;
	}
	if (fstat(t->journal, &st) < 0)
		rc = -errno;
	t->owner = geteuid();
	if (rc == 0 && st.st_uid != t->owner)
		rc = try_owner(t);
	if (rc) {
		log_line("%s/%s: %s", t->path, JOURNAL, strerror(-rc));
		return rc;
	}
	/* One that has no name any more is that of an export that has just ended. */
	if (is_reusable(t, &st))
		return 0;
	log_line(st.st_nlink ? "%s/%s is not the journal of an export by this user; remove it"
			     : "%s/%s: another export has just ended; try again",
	    t->path, JOURNAL);
	return -EPERM;
}

int target_open(struct target *t)
{
	int rc = 0;

	if (is_in_source(t)) {
		log_line("%s is in the directory of the model; give another", t->path);
		rc = -EINVAL;
	}
	if (rc == 0)
		rc = open_journal(t);
	if (rc == 0 && (rc = lock_journal(t)))
		t->resumed = true; /* the journal is not ours to remove */
	if (rc)
		target_abort(t);
	return rc;
}

void target_abort(struct target *t)
{
	if (t->journal >= 0 && !t->resumed)
		unlinkat(t->fd, JOURNAL, 0);
	if (t->made)
		rmdir(t->path);
	target_close(t);
}

void target_close(struct target *t)
{
	if (t->journal >= 0)
		close(t->journal);
	if (t->fd >= 0)
		close(t->fd);
	t->fd = t->journal = -1;
}

/* ---- what an earlier export left ---- */

/* Names that do not belong to this export. */
struct strangers {
	size_t count;
	bool rival;  /* the first is one */
	char *first; /* path: of a rival, if there is any */
};

static int note_stranger(struct strangers *s, const struct entries *entries, size_t dir, const char *name, bool rival)
{
	char *path;

	if (s->count++ && (s->rival || !rival))
		return 0;
	s->rival = rival;
	free(s->first);
	path = entries_path(entries, dir);
	if (!path || asprintf(&s->first, "%s%s%s", path, *path ? "/" : "", name) < 0)
		s->first = NULL;
	free(path);
	return s->first ? 0 : -ENOMEM;
}

/* One name in a directory of the export: removes a dot file of which this export has no use. */
static int examine_name(const struct entries *entries, size_t dir, int fd, const char *name)
{
	size_t number;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (dir == 0 && (strcmp(name, JOURNAL) == 0 || is_of_mkfs(name)))
		return 0;
	if (!is_part(name, &number))
		return 1;
	if (number < entries->count && entries->list[number].parent == dir &&
	    !entry_is_directory(&entries->list[number]))
		return 0;
	return unlinkat(fd, name, 0) < 0 ? -errno : 0;
}

static int examine_directory(const struct entries *entries, size_t dir, int fd, const struct gptqfs *model,
    struct strangers *strangers)
{
	const uint64_t ino = entries->list[dir].ino;
	DIR *d = fdopendir(fd);
	const struct dirent *entry;
	struct stat st;
	int rc = 0;

	if (!d) {
		rc = -errno;
		close(fd);
		return rc;
	}
	while (rc == 0) {
		errno = 0;
		entry = readdir(d);
		if (!entry) {
			rc = -errno;
			break;
		}
		rc = examine_name(entries, dir, dirfd(d), entry->d_name);
		if (rc == 1)
			rc = gptqfs_lookup(model, ino, entry->d_name, &st) == 0
			         ? 0
			         : note_stranger(strangers, entries, dir, entry->d_name,
				       rival_of(model, ino, entry->d_name));
	}
	closedir(d);
	return rc;
}

static int examine_all(const struct target *t, const struct entries *entries, const struct gptqfs *model,
    struct strangers *strangers)
{
	int rc = 0, fd;

	for (size_t i = 0; rc == 0 && i < entries->count; i++) {
		if (!entry_is_directory(&entries->list[i]))
			continue;
		fd = open_directory(t, entries, i);
		if (fd >= 0 && is_source(t, fd)) {
			rc = -EBUSY;
			close(fd);
		} else if (fd >= 0) {
			rc = examine_directory(entries, i, fd, model, strangers);
		} else if (fd == -ELOOP || fd == -ENOTDIR) {
			rc = -ENOTDIR;
		} else if (fd != -ENOENT) {
			rc = fd;
		}
		if (rc)
			complain(t, entries, i, rc);
	}
	return rc;
}

/*
 * Gives a finished file its dot name again. Another file of that name stays, and is replaced when the new one is
 * complete.
 */
static int withdraw(const struct target *t, int dir, const char *name, size_t number)
{
	char part[PART_NAME_MAX];
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!is_reusable(t, &st))
		return 0;
	part_name(part, number);
	return renameat(dir, name, dir, part) < 0 ? -errno : 0;
}

/* What makes a directory a model goes first and comes last. */
static int withdraw_last_ones(const struct target *t, const struct entries *entries)
{
	int rc = 0, dir;

	for (size_t i = 1; rc == 0 && i < entries->count; i++) {
		const struct entry *e = &entries->list[i];

		if (e->turn == TURN_DATA)
			continue;
		dir = open_parent(t, entries, i);
		if (dir == -ENOENT)
			continue;
		rc = dir;
		if (dir >= 0) {
			if (t->resumed)
				rc = withdraw(t, dir, e->name, i);
			else
				rc = unlinkat(dir, e->name, 0) < 0 && errno != ENOENT ? -errno : 0;
			close(dir);
		}
		if (rc)
			complain(t, entries, i, rc);
	}
	return rc;
}

static int refuse_strangers(const struct target *t, const struct strangers *s)
{
	if (!s->count)
		return 0;
	if (s->rival) {
		log_line("%s/%s: other weights of the same name, which programs may load instead; remove it", t->path,
		    s->first);
		return -ENOTEMPTY;
	}
	if (t->force) {
		if (s->count == 1)
			log_hint("%s/%s does not belong to this export and is kept", t->path, s->first);
		else
			log_hint("%s/%s and %zu more files do not belong to this export and are kept", t->path,
			    s->first, s->count - 1);
		return 0;
	}
	log_line("%s/%s does not belong to this export; remove it, or keep it with --force", t->path, s->first);
	return -ENOTEMPTY;
}

/* ---- the journal ---- */

static bool is_same_export(const struct target *t, const char *identity)
{
	const size_t length = strlen(identity);
	char *text = malloc(length + 1);
	const bool same =
	    text && pread(t->journal, text, length + 1, 0) == (ssize_t)length && memcmp(text, identity, length) == 0;

	free(text);
	return same;
}

static int write_journal(const struct target *t, const char *identity)
{
	const size_t length = strlen(identity);

	if (ftruncate(t->journal, 0) < 0 || pwrite(t->journal, identity, length, 0) != (ssize_t)length ||
	    fsync(t->journal) < 0) {
		const int rc = errno ? -errno : -ENOSPC;

		log_line("%s/%s: %s", t->path, JOURNAL, strerror(-rc));
		return rc;
	}
	return 0;
}

/* Names come from the core, which lets none of these through. */
static int refuse_names(const struct entries *entries)
{
	for (size_t i = 1; i < entries->count; i++) {
		const char *name = entries->list[i].name;

		if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
		    strncmp(name, ".gptqfs-", 8) == 0) {
			log_line("the model has a file that cannot be exported: %s", name);
			return -EILSEQ;
		}
	}
	return 0;
}

int target_examine(const struct target *t, const struct entries *entries, const struct gptqfs *model)
{
	struct strangers strangers = {0};
	int rc = refuse_names(entries);

	if (rc == 0 && t->holds)
		rc = examine_all(t, entries, model, &strangers);
	if (rc == 0)
		rc = refuse_strangers(t, &strangers);
	free(strangers.first);
	return rc;
}

int target_begin(const struct target *t, const struct entries *entries, const char *identity)
{
	int rc = 0;

	if (t->resumed) {
		if (is_same_export(t, identity))
			log_hint("%s: continuing; what is there is compared first", t->path);
		else
			log_hint("%s: begun with another model, view or version, or the model has changed since; "
				 "starting over",
			    t->path);
	}
	if (t->holds)
		rc = withdraw_last_ones(t, entries);
	return rc ? rc : write_journal(t, identity);
}

uint64_t target_held(const struct target *t, const struct entries *entries)
{
	uint64_t held = 0;
	char part[PART_NAME_MAX];
	struct stat st;
	int dir;

	for (size_t i = 1; t->resumed && i < entries->count; i++) {
		const struct entry *e = &entries->list[i];

		dir = entry_is_directory(e) ? -1 : open_parent(t, entries, i);
		if (dir < 0)
			continue;
		part_name(part, i);
		if ((fstatat(dir, e->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_reusable(t, &st)) ||
		    (fstatat(dir, part, &st, AT_SYMLINK_NOFOLLOW) == 0 && is_reusable(t, &st)))
			held += (uint64_t)st.st_blocks * 512 < e->bytes ? (uint64_t)st.st_blocks * 512 : e->bytes;
		close(dir);
	}
	return held;
}

/* ---- files ---- */

int target_make_directory(const struct target *t, const struct entries *entries, size_t number)
{
	const struct entry *e = &entries->list[number];
	int dir = open_parent(t, entries, number), rc = 0, fd;

	if (dir < 0)
		return dir;
	if (mkdirat(dir, e->name, (e->mode | 0700) & 0777) < 0) {
		rc = -errno;
		fd = rc == -EEXIST ? openat(dir, e->name, O_RDONLY | O_DIRECTORY | CAREFUL) : -1;
		if (fd >= 0) {
			close(fd);
			rc = 0;
		}
	}
	close(dir);
	return rc;
}

/* Opens what an earlier export left of a file. Returns a descriptor, or -1 if there is nothing to continue. */
static int open_part(const struct target *t, int dir, const char *part, const struct entry *e)
{
	struct stat st;
	int fd = openat(dir, part, O_RDWR | CAREFUL);

	if (fd < 0)
		return -1;
	if (fstat(fd, &st) == 0 && is_reusable(t, &st) && fchmod(fd, e->mode & 0777 & ~t->umask) == 0 &&
	    ((uint64_t)st.st_size <= e->bytes || ftruncate(fd, (off_t)e->bytes) == 0))
		return fd;
	close(fd);
	return -1;
}

int target_create(const struct target *t, const struct entries *entries, size_t number, uint64_t *held)
{
	const struct entry *e = &entries->list[number];
	const int dir = open_parent(t, entries, number);
	char part[PART_NAME_MAX];
	struct stat st;
	int fd = -1, rc = dir < 0 ? dir : 0;

	*held = 0;
	part_name(part, number);
	if (rc == 0 && t->resumed) {
		rc = withdraw(t, dir, e->name, number);
		if (rc == 0)
			fd = open_part(t, dir, part, e);
		if (fd >= 0 && fstat(fd, &st) == 0)
			*held = (uint64_t)st.st_size;
	}
	if (rc == 0 && fd < 0 && unlinkat(dir, part, 0) < 0 && errno != ENOENT)
		rc = -errno;
	if (rc == 0 && fd < 0) {
		fd = openat(dir, part, O_RDWR | O_CREAT | O_EXCL | CAREFUL, e->mode & 0777);
		rc = fd < 0 ? -errno : 0;
	}
	if (dir >= 0)
		close(dir);
	return rc ? rc : fd;
}

int target_finish(const struct target *t, const struct entries *entries, size_t number, int fd, bool sync)
{
	const int dir = open_parent(t, entries, number);
	char part[PART_NAME_MAX];
	int rc = dir < 0 ? dir : 0;

	part_name(part, number);
	if (sync && fsync(fd) < 0 && rc == 0)
		rc = -errno;
	/* Some network file systems report errors only here. */
	if (close(fd) < 0 && rc == 0 && errno != EINTR)
		rc = -errno;
	if (rc == 0 && renameat(dir, part, dir, entries->list[number].name) < 0)
		rc = -errno;
	if (dir >= 0)
		close(dir);
	return rc;
}

int target_reopen(const struct target *t, const struct entries *entries, size_t number)
{
	const int dir = open_parent(t, entries, number);
	int fd, error;

	if (dir < 0)
		return dir;
	fd = openat(dir, entries->list[number].name, O_RDONLY | CAREFUL);
	error = errno;
	close(dir);
	return fd < 0 ? -error : fd;
}

int target_sync(const struct target *t, const struct entries *entries, bool all)
{
	int rc = 0, fd;

	if (all)
		return syncfs(t->fd) < 0 ? -errno : 0;
	for (size_t i = 0; rc == 0 && i < entries->count; i++) {
		if (!entry_is_directory(&entries->list[i]))
			continue;
		fd = open_directory(t, entries, i);
		rc = fd < 0 ? fd : 0;
		/* EINVAL: this file system cannot. */
		if (fd >= 0 && fsync(fd) < 0 && errno != EINVAL)
			rc = -errno;
		if (fd >= 0)
			close(fd);
	}
	return rc;
}

int target_complete(struct target *t)
{
	if (unlinkat(t->fd, JOURNAL, 0) < 0)
		return -errno;
	/* It may fail: everything else is on the disk, and a journal that comes back after a crash does no harm. */
	fsync(t->fd);
	return 0;
}
