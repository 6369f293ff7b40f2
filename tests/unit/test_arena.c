/* SPDX-License-Identifier: MIT */
#include <stdint.h>
#include <string.h>

#include "../test.h"
#include "base/arena.h"

static void test_alloc(void)
{
	struct arena a = {0};
	unsigned char *first = arena_alloc(&a, 3, 5), *large = arena_alloc(&a, 1, 1 << 20),
		      *second = arena_alloc(&a, 1, 1);

	CHECK(first && large && second && (uintptr_t)first % 16 == 0 && (uintptr_t)large % 16 == 0);
	for (int i = 0; i < 15; i++)
		CHECK(first[i] == 0);
	CHECK(second == first + 16); /* a large object leaves the current chunk in use */
	CHECK(!arena_alloc(&a, SIZE_MAX / 2, 3) && !a.exceeded);
	CHECK(strcmp(arena_printf(&a, "%d-%s", 7, "x"), "7-x") == 0);
	CHECK(strcmp(arena_strndup(&a, "abc", 2), "ab") == 0);
	arena_free(&a);
	CHECK(!a.chunks && !a.bytes);
}

static void test_limit(void)
{
	struct arena a = {.limit = 1 << 20};
	size_t got = 0;

	while (arena_alloc(&a, 1, 1000))
		got += 1000;
	CHECK(a.exceeded && a.bytes <= a.limit && got > (1 << 20) * 9 / 10);
	a.limit = 2 << 20; /* as when another shard is opened */
	CHECK(arena_alloc(&a, 1, 1000) != NULL);
	arena_free(&a);
}

int main(void)
{
	test_alloc();
	test_limit();
	return test_done();
}
