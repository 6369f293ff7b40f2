/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TARGET_H
#define GPTQFS_TARGET_H

#include "offline/entries.h"

/*
 * The directory of an export. Files are written under dot names and renamed when complete; a locked journal
 * distinguishes an export to be continued from a directory that holds something else.
 *
 * Nothing in the directory is trusted: names are opened one component at a time without following links; files are
 * reused only if they are regular, owned by this user and have one name, and their bytes are compared. The journal's
 * text only serves to tell the user whether the same export continues.
 *
 * Functions with a number concern that entry; any thread may call them. They return a negative errno on failure.
 */

struct target {
	const char *path; /* as given */
	const char *source;
	bool force; /* write into a directory that holds other files */
	/* Set by target_make. */
	int fd, journal;
	bool made; /* the directory is new */
	mode_t umask;
	/* Set by target_open. */
	bool resumed; /* there is a journal */
	bool holds;   /* the directory was not empty */
	uid_t owner;  /* of what this process makes there */
};

/*
 * Opens or makes the directory `path`, which must be set; later calls need no rights outside of it. Returns 0, or
 * -errno after a message.
 */
int target_make(struct target *t);

/*
 * Locks the journal of the directory. `source` and `force` must be set. Returns 0, or -errno after a message; then
 * nothing was left there, and target_abort was called.
 */
int target_open(struct target *t);

/*
 * Looks through the directory: removes dot files of other exports, and refuses names that do not belong to this one.
 * Returns 0, or -errno after a message.
 */
int target_examine(const struct target *t, const struct entries *entries, const struct gptqfs *model);

/*
 * Removes indexes and config.json, and writes the journal. `identity` is a text that differs between exports. Returns
 * 0, or -errno after a message.
 */
int target_begin(const struct target *t, const struct entries *entries, const char *identity);

/* Returns the bytes on disk of files that can be reused. */
uint64_t target_held(const struct target *t, const struct entries *entries);

/* Undoes target_make and target_open, and releases what they acquired. */
void target_abort(struct target *t);

/* Makes a directory, unless it is there. Parents first. */
int target_make_directory(const struct target *t, const struct entries *entries, size_t number);

/* Opens a file under its dot name. Returns a descriptor, and in *held how many of its bytes an earlier export left. */
int target_create(const struct target *t, const struct entries *entries, size_t number, uint64_t *held);

/* Closes that descriptor and gives the file its name; with `sync`, when it is on the disk. */
int target_finish(const struct target *t, const struct entries *entries, size_t number, int fd, bool sync);

/* Opens a finished file for reading. */
int target_reopen(const struct target *t, const struct entries *entries, size_t number);

/* Waits until everything is on the disk: all directories, or with `all` the whole file system. */
int target_sync(const struct target *t, const struct entries *entries, bool all);

/* Ends a complete export: removes the journal. */
int target_complete(struct target *t);

/* Releases what target_make and target_open acquired. */
void target_close(struct target *t);

#endif
