/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "tree/layout.h"
#include "../test.h"
#include "tree/tree.h"

static void test_find(void)
{
	struct arena arena = {0};
	struct layout layout = {0}, again = {0};
	const struct generator g = {.rows = 3, .row_bytes = 100};
	struct source_file file = {.fd = -1};

	CHECK(layout_reserve(&layout, &arena, 4) == 0);
	layout_add_bytes(&layout, "header", 6);
	layout_add_bytes(&layout, "", 0);
	layout_add_generator(&layout, &g);
	layout_add_source(&layout, &file, 77, 10);
	CHECK(layout.count == 3 && layout.size == 316);
	for (uint64_t at = 0; at < layout.size; at++) {
		const struct extent *e = layout_find(&layout, at);

		CHECK(e->offset <= at && at < e->offset + e->length);
	}
	CHECK(layout_find(&layout, 306)->kind == EXTENT_SOURCE && layout_find(&layout, 306)->position == 77);
	CHECK(layout_reserve(&again, &arena, 4) == 0);
	layout_add_bytes(&again, "head", 4);
	layout_add_layout(&again, &layout);
	CHECK(again.count == 4 && again.size == 320);
	CHECK(layout_find(&again, 4)->from.bytes == layout_find(&layout, 0)->from.bytes);
	CHECK(layout_find(&again, 310)->offset == 310 && layout_find(&again, 310)->position == 77);
	arena_free(&arena);
}

static void write_twice(const void *subject, struct text *out)
{
	text_printf(out, "%s%s", (const char *)subject, (const char *)subject);
}

static void test_text(void)
{
	struct text_rows t = text_rows_make(write_twice, "ab", 4);
	char bytes[5] = "12345";

	CHECK(t.g.rows == 1 && generator_fill(&t.g, bytes, 0, 1) == 0 && memcmp(bytes, "abab5", 5) == 0);
	/* A text that is not what it was. */
	t = text_rows_make(write_twice, "abc", 4);
	CHECK(generator_fill(&t.g, bytes, 0, 1) == -EIO);
}

static void test_add_text(void)
{
	const size_t len = 9 << 20;
	struct arena arena = {0};
	struct layout layout = {0};
	char *subject = arena_alloc(&arena, len + 1, 1);

	CHECK(layout_reserve(&layout, &arena, 2) == 0);
	CHECK(layout_add_text(&layout, &arena, write_twice, "xyz") == 0);
	CHECK(layout.size == 6 && layout.extents[0].kind == EXTENT_GENERATED);
	/* One that takes long to write is kept. */
	if (CHECK(subject != NULL)) {
		memset(subject, 'a', len);
		CHECK(layout_add_text(&layout, &arena, write_twice, subject) == 0);
		CHECK(layout.size == 6 + 2 * len && layout.extents[1].kind == EXTENT_BYTES);
		CHECK(layout.extents[1].from.bytes[2 * len - 1] == 'a');
	}
	arena_free(&arena);
}

static void test_tree(void)
{
	const struct stat like = {.st_mode = S_IFREG | 0640, .st_uid = 5, .st_gid = 6, .st_mtim = {9, 9}};
	struct arena arena = {0};
	struct layout layout = {.size = 10};
	struct tree tree;
	uint32_t a, b, c;

	CHECK(tree_init(&tree, &arena, &like) == 0);
	b = tree_add(&tree, GPTQFS_ROOT, "sub/deep/b", &layout, &like);
	a = tree_add(&tree, GPTQFS_ROOT, "sub/a", &layout, &like);
	CHECK(tree_add(&tree, GPTQFS_ROOT, "zz", NULL, &like) == tree_add(&tree, GPTQFS_ROOT, "zz", NULL, &like));
	for (int i = 0; i < 200; i++)
		CHECK(tree_add(&tree, GPTQFS_ROOT, arena_printf(&arena, "f%03d", i * 7 % 200), &layout, &like) != 0);
	c = tree_add_directory(&tree, tree_add(&tree, GPTQFS_ROOT, "zz", NULL, &like), "c", &like);
	CHECK(c && tree_add(&tree, GPTQFS_ROOT, "zz/c", NULL, &like) == c);
	CHECK(tree_seal(&tree) == 0);
	CHECK(tree.nodes[c].mode == (S_IFDIR | 0550) && !tree.nodes[c].layout);
	CHECK(tree.nodes[GPTQFS_ROOT].child_count == 202 && tree.bytes == 2020);
	CHECK(tree_lookup(&tree, tree_lookup(&tree, GPTQFS_ROOT, "sub"), "a") == a);
	CHECK(tree_lookup(&tree, tree_lookup(&tree, tree_lookup(&tree, GPTQFS_ROOT, "sub"), "deep"), "b") == b);
	CHECK(tree_lookup(&tree, GPTQFS_ROOT, "none") == 0 && tree_lookup(&tree, GPTQFS_ROOT, "") == 0);
	CHECK(tree.nodes[a].mode == (S_IFREG | 0440) && tree.nodes[a].uid == 5);
	CHECK(tree.nodes[tree.nodes[a].parent].mode == (S_IFDIR | 0550));
	for (uint32_t i = 1; i < 202; i++)
		CHECK(strcmp(tree.nodes[tree.nodes[GPTQFS_ROOT].children[i - 1]].name,
			  tree.nodes[tree.nodes[GPTQFS_ROOT].children[i]].name) < 0);
	tree_free(&tree);
	arena_free(&arena);
}

static void test_names(void)
{
	const struct stat file = {.st_mode = S_IFREG | 0644}, directory = {.st_mode = S_IFDIR | 0745};
	struct arena arena = {0};
	struct layout layout = {.size = 10};
	struct tree tree;
	uint32_t sub;

	CHECK(tree_init(&tree, &arena, &directory) == 0);
	CHECK(tree.nodes[GPTQFS_ROOT].mode == (S_IFDIR | 0545)); /* its own r and x */
	CHECK(tree_admits(&tree, GPTQFS_ROOT, "file") && tree_admits(&tree, GPTQFS_ROOT, "file/x"));
	CHECK(tree_add(&tree, GPTQFS_ROOT, "file", &layout, &file));
	sub = tree_add(&tree, GPTQFS_ROOT, "sub", NULL, &directory);
	CHECK(tree_add(&tree, GPTQFS_ROOT, "sub/b", &layout, &file) && tree.nodes[sub].mode == (S_IFDIR | 0545));
	CHECK(!tree_admits(&tree, GPTQFS_ROOT, "file") && !tree_admits(&tree, GPTQFS_ROOT, "file/x"));
	CHECK(!tree_admits(&tree, GPTQFS_ROOT, "sub") && !tree_admits(&tree, GPTQFS_ROOT, "sub/b"));
	CHECK(!tree_admits(&tree, GPTQFS_ROOT, "sub/b/c") && !tree_admits(&tree, sub, "b"));
	CHECK(tree_admits(&tree, GPTQFS_ROOT, "sub/c") && tree_admits(&tree, GPTQFS_ROOT, "su") &&
	      tree_admits(&tree, sub, "file") && tree_admits(&tree, GPTQFS_ROOT, "b"));
	tree_free(&tree);
	arena_free(&arena);
}

int main(void)
{
	test_names();
	test_find();
	test_text();
	test_add_text();
	test_tree();
	return test_done();
}
