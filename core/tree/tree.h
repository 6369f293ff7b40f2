/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TREE_H
#define GPTQFS_TREE_H

/*
 * The directories and files of a mount. A node's index is its inode number; 0 is none, 1 is the root. Nodes are
 * numbered in the order in which they are added, which depends on nothing but the model and the options.
 */

#include <sys/stat.h>

#include "base/text.h"
#include "tree/layout.h"

struct node {
	const char *name;
	const struct layout *layout; /* of a file; NULL for a directory */
	uint32_t parent;
	uint32_t child_count; /* of a directory */
	uint32_t *children;   /* by name, bytewise; after tree_seal */
	mode_t mode;
	uid_t uid;
	gid_t gid;
	struct timespec mtime;
};

struct tree {
	struct arena *arena;
	struct node *nodes; /* of tree_free; all else is the arena's */
	uint32_t count, room;
	uint64_t bytes;  /* of all files */
	uint32_t *slots; /* until tree_seal: nodes by parent and name, a hash table at most half full; 0 is free */
	uint32_t slot_count, seed;
};

/* Makes the root, with the attributes of a source directory. Returns 0 or -ENOMEM; tree_free is for both cases. */
int tree_init(struct tree *tree, struct arena *arena, const struct stat *like);
void tree_free(struct tree *tree);

/*
 * Adds a file or a directory (layout == NULL) with owner, permissions and times of `like`: files have its r,
 * directories its r and x, or x wherever it has r if it is a file. `path` is below `parent` and is kept, not copied;
 * directories on the way are made. Returns the inode number, or 0 for lack of memory. An existing directory is found,
 * not made again; what is there must not be in the way, see tree_admits.
 */
uint32_t tree_add(struct tree *tree, uint32_t parent, const char *path, const struct layout *layout,
    const struct stat *like);

/* Whether a path can be added below `parent`: nothing has its name, and no file the name of a directory on the way. */
bool tree_admits(const struct tree *tree, uint32_t parent, const char *path);

/* Adds a directory that is known not to be there yet, without looking for it, for adding very many. */
uint32_t tree_add_directory(struct tree *tree, uint32_t parent, const char *name, const struct stat *like);

/* Adds a file that consists of a text, which is taken over and freed. Returns 0 or -ENOMEM (the text may have failed).
 */
int tree_add_text(struct tree *tree, uint32_t parent, const char *name, struct text *text, const struct stat *like);

/* Sorts every directory; nothing can be added afterwards. Returns 0 or -ENOMEM. */
int tree_seal(struct tree *tree);

/* The child with that name, or 0. Only after tree_seal. */
uint32_t tree_lookup(const struct tree *tree, uint32_t parent, const char *name);

#endif
