/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TREE_H
#define GPTQFS_TREE_H

/*
 * The directories and files of a mount. A node's index is its inode number; 0 is none, 1 is the root. Nodes are
 * numbered in the order they are added, which depends only on the model and the options.
 */

#include <sys/stat.h>

#include "base/text.h"
#include "tree/late.h"
#include "tree/layout.h"

struct node {
	const char *name;
	const struct layout *layout; /* of a file; NULL for a directory */
	uint32_t parent;
	uint32_t child_count;         /* of a directory */
	uint32_t *children;           /* sorted by name, bytewise, after tree_seal */
	_Atomic uint32_t directories; /* how many of them are directories; may be read while planning removes some */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	struct timespec mtime;
	struct late *late; /* run before a file, or the list of a directory's files, is used; or NULL */
};

struct tree {
	struct arena *arena;
	struct node *nodes; /* freed by tree_free; the rest is in the arena */
	uint32_t count, room;
	_Atomic uint64_t bytes; /* of all files planned so far */
	uint32_t *slots; /* until tree_seal: hash table of nodes by parent and name, at most half full; 0 is free */
	uint32_t slot_count, seed;
	pthread_mutex_t late; /* for planning files late */
};

/* Makes the root, with the attributes of a source directory. Returns 0 or -ENOMEM; call tree_free in either case. */
int tree_init(struct tree *tree, struct arena *arena, const struct stat *like);
void tree_free(struct tree *tree);

/*
 * Adds a file or a directory (layout == NULL) with owner, permissions and times of `like`: files get its r, directories
 * its r and x, or x wherever it has r if it is a file. `path` is relative to `parent` and is kept, not copied; missing
 * directories are added, existing ones reused. The path must not clash with existing nodes, see tree_admits. Returns
 * the inode number, or 0 if out of memory.
 */
uint32_t tree_add(struct tree *tree, uint32_t parent, const char *path, const struct layout *layout,
    const struct stat *like);

/* True if a path can be added below `parent`: nothing has its name, and no directory on it is a file. */
bool tree_admits(const struct tree *tree, uint32_t parent, const char *path);

/* Adds a directory known not to exist, without a lookup: for adding very many. */
uint32_t tree_add_directory(struct tree *tree, uint32_t parent, const char *name, const struct stat *like);

/*
 * Marks a file as planned late: its layout is empty until `late` has run. All files of a directory must have the same
 * `late`.
 */
void tree_set_late(struct tree *tree, uint32_t ino, struct late *late);

/* Removes a file from its directory, after tree_seal, while it is planned late. Its inode number stays in use. */
void tree_drop(struct tree *tree, uint32_t ino);

/* Removes everything else from the directory of a file, likewise. */
void tree_drop_others(struct tree *tree, uint32_t ino);

/* Counts the bytes of a file that was planned late. */
void tree_count(struct tree *tree, uint64_t bytes);

/* Adds a file with the given text, which is consumed. Returns 0 or -ENOMEM (the text may have failed). */
int tree_add_text(struct tree *tree, uint32_t parent, const char *name, struct text *text, const struct stat *like);

/* Sorts every directory; nothing can be added after that. Returns 0 or -ENOMEM. */
int tree_seal(struct tree *tree);

/* Returns the child of that name, or 0. Only after tree_seal. */
uint32_t tree_lookup(const struct tree *tree, uint32_t parent, const char *name);

#endif
