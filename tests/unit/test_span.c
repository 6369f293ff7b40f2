/* SPDX-License-Identifier: MIT */
#include "file/span.h"
#include "../test.h"

#define KIB ((uint64_t)1 << 10)

static const unsigned char *const map = (const unsigned char *)0x100000;
static const struct source_file a = {.map = map}, b = {.map = map};

static bool is(const struct span *s, const struct source_file *f, uint64_t offset, uint64_t bytes)
{
	return s->file == f && s->offset == offset && s->bytes == bytes;
}

static void test_add(void)
{
	struct spans s = {0};

	spans_add(&s, &a, map + 500 * KIB, 10 * KIB);
	spans_add(&s, &a, map, 0);
	CHECK(s.count == 1 && is(&s.span[0], &a, 500 * KIB, 10 * KIB));
	/* Before it, close enough; after it; within. */
	spans_add(&s, &a, map + 440 * KIB, 10 * KIB);
	CHECK(s.count == 1 && is(&s.span[0], &a, 440 * KIB, 70 * KIB));
	spans_add(&s, &a, map + 510 * KIB, 10 * KIB);
	spans_add(&s, &a, map + 450 * KIB, 1);
	CHECK(s.count == 1 && is(&s.span[0], &a, 440 * KIB, 80 * KIB));
	/* Another file, however close; and too far away. */
	spans_add(&s, &b, map + 520 * KIB, 1);
	spans_add(&s, &a, map + 700 * KIB, 10 * KIB);
	CHECK(s.count == 3 && spans_bytes(&s) == 90 * KIB + 1);
	/* A piece that closes the gap joins all three. */
	spans_add(&s, &a, map + 560 * KIB, 100 * KIB);
	CHECK(s.count == 2 && spans_bytes(&s) == 270 * KIB + 1);
	for (int i = 0; i < 8; i++)
		spans_add(&s, &a, map + (2000 + (uint64_t)i * 1000) * KIB, KIB);
	CHECK(s.count == SPANS_MAX);
}

static void test_cut(void)
{
	struct spans s = {3, {{&a, 100, 10}, {&b, 50, 5}, {&a, 1000, 20}}}, cut;

	cut = spans_cut(&s, 0, 35);
	CHECK(cut.count == 3 && spans_bytes(&cut) == 35);
	cut = spans_cut(&s, 4, 3);
	CHECK(cut.count == 1 && is(&cut.span[0], &a, 104, 3));
	cut = spans_cut(&s, 8, 10);
	CHECK(cut.count == 3 && is(&cut.span[0], &a, 108, 2) && is(&cut.span[1], &b, 50, 5) &&
	      is(&cut.span[2], &a, 1000, 3));
	cut = spans_cut(&s, 15, 100);
	CHECK(cut.count == 1 && is(&cut.span[0], &a, 1000, 20));
	CHECK(spans_cut(&s, 35, 1).count == 0 && spans_cut(&s, 0, 0).count == 0);
}

int main(void)
{
	test_add();
	test_cut();
	return test_done();
}
