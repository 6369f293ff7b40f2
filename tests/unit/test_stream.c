/* SPDX-License-Identifier: MIT */

/* Detection of one sequential reader. */

#include "read/stream.h"

#include "../test.h"

#define SIZE ((uint64_t)1 << 20)

static const char here, there;

static void test_forward(void)
{
	struct stream s = {0};

	for (uint64_t i = 0; i < 10; i++)
		stream_note(&s, &here, (5 + i) * SIZE, SIZE);
	CHECK(s.followed == 9 && s.next == 15 * SIZE);
	/* Another size, but consecutive. */
	stream_note(&s, &here, 15 * SIZE, 1);
	CHECK(s.followed == 10);
}

/* Swapped requests lower the count but do not end the stream. */
static void test_swapped(void)
{
	struct stream s = {0};

	for (uint64_t i = 0; i < 9; i++)
		stream_note(&s, &here, i * SIZE, SIZE);
	CHECK(s.followed == 8);
	stream_note(&s, &here, 10 * SIZE, SIZE);
	stream_note(&s, &here, 9 * SIZE, SIZE);
	CHECK(s.followed == 4 && s.next == 11 * SIZE);
	stream_note(&s, &here, 11 * SIZE, SIZE);
	CHECK(s.followed == 5);
}

static void test_ends(void)
{
	struct stream s = {0};

	for (uint64_t i = 0; i < 9; i++)
		stream_note(&s, &here, i * SIZE, SIZE);
	stream_note(&s, &there, 9 * SIZE, SIZE);
	CHECK(s.followed == 0 && s.next == 10 * SIZE);
	stream_note(&s, &there, 10 * SIZE, SIZE);
	CHECK(s.followed == 1);
	/* Too far away, in either direction. */
	stream_note(&s, &there, 11 * SIZE + STREAM_SHUFFLE + 1, SIZE);
	CHECK(s.followed == 0 && s.next == 12 * SIZE + STREAM_SHUFFLE + 1);
	stream_note(&s, &there, 0, SIZE);
	CHECK(s.followed == 0 && s.next == SIZE);
}

/* A small file that is read again and again starts at its beginning each time. */
static void test_again(void)
{
	struct stream s = {0};

	for (int round = 0; round < 5; round++) {
		stream_note(&s, &here, 0, SIZE);
		CHECK(s.next == SIZE);
		stream_note(&s, &here, SIZE, SIZE);
	}
	CHECK(s.followed == 5);
}

static void test_near(void)
{
	const struct stream s = {&here, 100, 0};

	CHECK(stream_is_near(&s, &here, 100, 0) && !stream_is_near(&s, &here, 101, 0));
	CHECK(stream_is_near(&s, &here, 101, 1) && stream_is_near(&s, &here, 99, 1));
	CHECK(!stream_is_near(&s, &here, 98, 1) && !stream_is_near(&s, &there, 100, 50));
}

int main(void)
{
	test_forward();
	test_swapped();
	test_ends();
	test_again();
	test_near();
	return test_done();
}
