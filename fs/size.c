/* SPDX-License-Identifier: MIT */
#include "size.h"

#include <stdio.h>

const char *size_text(char text[SIZE_TEXT_MAX], uint64_t bytes)
{
	static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
	double n = (double)bytes;
	size_t unit = 0;
	int digits = 0;

	for (; n >= 999.5 && unit + 1 < sizeof(units) / sizeof(*units); unit++)
		n /= 1000;
	if (unit && n < 99.95)
		digits = n < 9.995 ? 2 : 1;
	snprintf(text, SIZE_TEXT_MAX, "%.*f %s", digits, n, units[unit]);
	return text;
}
