/* SPDX-License-Identifier: MIT */
#include "tree/tree.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* FNV-1a of a name and its directory, seeded with a secret, so that names cannot be made to collide. */
static uint32_t hash_name(const struct tree *tree, uint32_t parent, const char *name, size_t len)
{
	uint32_t hash = (tree->seed ^ parent) * 16777619u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)name[i]) * 16777619u;
	return hash ^ hash >> 15;
}

/* Returns the slot of a name, or the free slot where it would go. The table always has free slots. */
static uint32_t *find_slot(const struct tree *tree, uint32_t parent, const char *name, size_t len)
{
	const uint32_t mask = tree->slot_count - 1;

	for (uint32_t at = hash_name(tree, parent, name, len) & mask;; at = (at + 1) & mask) {
		const struct node *n = &tree->nodes[tree->slots[at]];

		if (!tree->slots[at] || (n->parent == parent && strncmp(n->name, name, len) == 0 && !n->name[len]))
			return &tree->slots[at];
	}
}

static uint32_t find_added(const struct tree *tree, uint32_t parent, const char *name, size_t len)
{
	return tree->slot_count ? *find_slot(tree, parent, name, len) : 0;
}

static int grow_slots(struct tree *tree)
{
	const uint32_t count = tree->slot_count ? tree->slot_count * 2 : 128;
	uint32_t *slots = count ? calloc(count, sizeof(*slots)) : NULL;

	if (!slots)
		return -ENOMEM;
	free(tree->slots);
	tree->slots = slots;
	tree->slot_count = count;
	for (uint32_t i = GPTQFS_ROOT + 1; i < tree->count; i++) {
		const struct node *n = &tree->nodes[i];

		*find_slot(tree, n->parent, n->name, strlen(n->name)) = i;
	}
	return 0;
}

static uint32_t add_node(struct tree *tree, struct node node)
{
	if (tree->count == tree->room) {
		const size_t room = (size_t)tree->room * 2 + 64;
		struct node *nodes = room <= UINT32_MAX ? reallocarray(tree->nodes, room, sizeof(*nodes)) : NULL;

		if (!nodes)
			return 0;
		tree->nodes = nodes;
		tree->room = (uint32_t)room;
	}
	if (tree->count >= tree->slot_count / 2 && grow_slots(tree))
		return 0;
	tree->nodes[tree->count] = node;
	if (tree->count > GPTQFS_ROOT)
		*find_slot(tree, node.parent, node.name, strlen(node.name)) = tree->count;
	return tree->count++;
}

static struct node like_source(const struct stat *like, bool directory)
{
	const mode_t read = like->st_mode & 0444;
	/* A directory of computed files is searchable by every user who may read them. */
	const mode_t pass = S_ISDIR(like->st_mode) ? like->st_mode & 0111 : read >> 2;

	return (struct node){
	    .mode = directory ? S_IFDIR | read | pass : S_IFREG | read,
	    .uid = like->st_uid,
	    .gid = like->st_gid,
	    .mtime = like->st_mtim,
	};
}

int tree_init(struct tree *tree, struct arena *arena, const struct stat *like)
{
	struct node root = like_source(like, true);

	*tree = (struct tree){.arena = arena, .seed = 2166136261u, .late = PTHREAD_MUTEX_INITIALIZER};
	if (getrandom(&tree->seed, sizeof(tree->seed), GRND_NONBLOCK) < 0)
		tree->seed ^= (uint32_t)(uintptr_t)tree; /* early in boot */
	add_node(tree, (struct node){0});
	root.name = "";
	root.parent = GPTQFS_ROOT;
	return add_node(tree, root) == GPTQFS_ROOT ? 0 : -ENOMEM;
}

void tree_free(struct tree *tree)
{
	free(tree->nodes);
	free(tree->slots);
	*tree = (struct tree){0};
}

bool tree_admits(const struct tree *tree, uint32_t parent, const char *path)
{
	const char *slash;

	for (; (slash = strchr(path, '/')); path = slash + 1) {
		parent = find_added(tree, parent, path, (size_t)(slash - path));
		if (!parent)
			return true;
		if (tree->nodes[parent].layout)
			return false;
	}
	return !find_added(tree, parent, path, strlen(path));
}

uint32_t tree_add(struct tree *tree, uint32_t parent, const char *path, const struct layout *layout,
    const struct stat *like)
{
	const char *slash = strchr(path, '/');
	struct node node = like_source(like, slash || !layout);
	size_t len = slash ? (size_t)(slash - path) : strlen(path);
	uint32_t ino = slash || !layout ? find_added(tree, parent, path, len) : 0;

	if (!ino) {
		node.name = slash ? arena_strndup(tree->arena, path, len) : path;
		node.layout = slash ? NULL : layout;
		node.parent = parent;
		if (slash)
			node.mtime = tree->nodes[GPTQFS_ROOT].mtime;
		ino = node.name ? add_node(tree, node) : 0;
		tree->bytes += node.layout ? node.layout->size : 0;
	}
	return slash && ino ? tree_add(tree, ino, slash + 1, layout, like) : ino;
}

uint32_t tree_add_directory(struct tree *tree, uint32_t parent, const char *name, const struct stat *like)
{
	struct node node = like_source(like, true);

	node.name = name;
	node.parent = parent;
	return add_node(tree, node);
}

void tree_set_late(struct tree *tree, uint32_t ino, struct late *late)
{
	late->lock = &tree->late;
	tree->nodes[ino].late = late;
	tree->nodes[tree->nodes[ino].parent].late = late;
}

void tree_drop(struct tree *tree, uint32_t ino)
{
	struct node *n = &tree->nodes[tree->nodes[ino].parent];
	uint32_t kept = 0;

	for (uint32_t i = 0; i < n->child_count; i++)
		if (n->children[i] != ino)
			n->children[kept++] = n->children[i];
	n->child_count = kept;
}

void tree_drop_others(struct tree *tree, uint32_t ino)
{
	struct node *n = &tree->nodes[tree->nodes[ino].parent];

	n->children[0] = ino;
	n->child_count = 1;
	n->directories = 0;
}

void tree_count(struct tree *tree, uint64_t bytes)
{
	tree->bytes += bytes;
}

int tree_add_text(struct tree *tree, uint32_t parent, const char *name, struct text *text, const struct stat *like)
{
	struct layout *layout = arena_alloc(tree->arena, 1, sizeof(*layout));
	int rc = layout ? layout_set_text(layout, tree->arena, text) : -ENOMEM;

	text_free(text);
	return rc == 0 && tree_add(tree, parent, name, layout, like) ? 0 : -ENOMEM;
}

static int tree_by_name(const void *a, const void *b, void *nodes)
{
	const struct node *n = nodes;

	return strcmp(n[*(const uint32_t *)a].name, n[*(const uint32_t *)b].name);
}

int tree_seal(struct tree *tree)
{
	free(tree->slots);
	tree->slots = NULL;
	tree->slot_count = 0;
	for (uint32_t i = GPTQFS_ROOT + 1; i < tree->count; i++)
		tree->nodes[tree->nodes[i].parent].child_count++;
	for (uint32_t i = GPTQFS_ROOT; i < tree->count; i++) {
		struct node *n = &tree->nodes[i];

		n->children = arena_alloc(tree->arena, n->child_count, sizeof(*n->children));
		if (n->child_count && !n->children)
			return -ENOMEM;
		n->child_count = 0;
	}
	for (uint32_t i = GPTQFS_ROOT + 1; i < tree->count; i++) {
		struct node *parent = &tree->nodes[tree->nodes[i].parent];

		parent->children[parent->child_count++] = i;
		parent->directories += !tree->nodes[i].layout;
	}
	for (uint32_t i = GPTQFS_ROOT; i < tree->count; i++)
		if (tree->nodes[i].child_count)
			qsort_r(tree->nodes[i].children, tree->nodes[i].child_count, sizeof(uint32_t), tree_by_name,
			    tree->nodes);
	return 0;
}

uint32_t tree_lookup(const struct tree *tree, uint32_t parent, const char *name)
{
	const struct node *p = &tree->nodes[parent];
	uint32_t low = 0, high = p->child_count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;
		int order = strcmp(name, tree->nodes[p->children[middle]].name);

		if (order == 0)
			return p->children[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return 0;
}
