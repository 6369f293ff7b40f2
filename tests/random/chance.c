/* SPDX-License-Identifier: MIT */
#include <stdarg.h>

#include "random.h"

/* ---- chance ---- */

uint64_t chance_state;

uint64_t any(void)
{
	uint64_t x = chance_state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

uint64_t below(uint64_t n)
{
	return any() % n;
}

bool chance(unsigned percent)
{
	return below(100) < percent;
}

void shuffle(unsigned *order, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		unsigned j = (unsigned)below(i + 1);

		order[i] = order[j];
		order[j] = i;
	}
}

/* ---- memory of one case ---- */

static void *taken[8192];
static unsigned taken_count;

/* Of exactly this size, so that a sanitizer sees the end. */
void *take(size_t size)
{
	void *p = calloc(1, size ? size : 1);

	if (!p || taken_count == COUNT(taken)) {
		printf("out of memory\n");
		exit(1);
	}
	return taken[taken_count++] = p;
}

char *say(const char *fmt, ...)
{
	char *text = take(256);
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, 256, fmt, args);
	va_end(args);
	return text;
}

void release_all(void)
{
	while (taken_count)
		free(taken[--taken_count]);
}

uint64_t div_up(uint64_t a, uint64_t b)
{
	return (a + b - 1) / b;
}
