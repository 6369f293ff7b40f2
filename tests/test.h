/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TEST_H
#define GPTQFS_TEST_H

/* A test program: CHECKs, and test_done() as the value of main. One line per failure, one line at the end. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

static atomic_uint test_passed, test_failed; /* any thread may check */

static inline bool test_check(bool good, const char *what, const char *file, int line)
{
	if (good)
		test_passed++;
	else
		printf("%s:%d: failed: %s\n", file, line, what), test_failed++;
	return good;
}

#define CHECK(condition) test_check(condition, #condition, __FILE__, __LINE__)

static inline int test_done(void)
{
	printf("%u passed, %u failed\n", test_passed, test_failed);
	return test_failed ? 1 : 0;
}

#endif
