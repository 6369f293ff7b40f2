/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_TEST_H
#define GPTQFS_TEST_H

/* A test program: CHECKs, and test_done() as the return value of main. Prints a line per failure and one at the end. */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* One pair per program, shared by its files; any thread may use CHECK. */
__attribute__((weak)) atomic_uint test_passed, test_failed;

static inline bool test_check(bool good, const char *what, const char *file, int line)
{
	if (good)
		test_passed++;
	else
		printf("%s:%d: failed: %s\n", file, line, what), test_failed++;
	return good;
}

#define CHECK(condition) test_check(condition, #condition, __FILE__, __LINE__)

/* Returns the random seed: $SEED, or a new one. Each thread uses this seed and its own number. */
static inline unsigned test_seed(void)
{
	const char *given = getenv("SEED");
	const unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);

	printf("seed %u (SEED=%u repeats it)\n", seed, seed);
	return seed;
}

static inline int test_done(void)
{
	printf("%u passed, %u failed\n", test_passed, test_failed);
	return test_failed ? 1 : 0;
}

#endif
