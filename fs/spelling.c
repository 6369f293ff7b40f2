/* SPDX-License-Identifier: MIT */
#include "spelling.h"

static unsigned smaller(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned spelling_distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned d[SPELLING_MAX + 1][SPELLING_MAX + 1]; /* of the first i letters of a and the first j of b */

	if (a_len > SPELLING_MAX || b_len > SPELLING_MAX)
		return SPELLING_MAX;
	for (size_t i = 0; i <= a_len; i++)
		for (size_t j = 0; j <= b_len; j++) {
			if (!i || !j) {
				d[i][j] = (unsigned)(i + j);
				continue;
			}
			d[i][j] =
			    smaller(d[i - 1][j - 1] + (a[i - 1] != b[j - 1]), 1 + smaller(d[i - 1][j], d[i][j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = smaller(d[i][j], d[i - 2][j - 2] + 1);
		}
	return d[a_len][b_len];
}
