/* SPDX-License-Identifier: MIT */
#include "checkpoint/numbered.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SUFFIX ".safetensors"
#define DIGITS_MAX 9

struct numbered {
	const char *digits; /* of the number in the name */
	int width;
	unsigned long number, of;
};

static bool parse_numbered(const char *name, struct numbered *out)
{
	const char *end, *at;

	if (!ends_with(name, SUFFIX))
		return false;
	end = at = name + strlen(name) - strlen(SUFFIX);
	while (at > name && at[-1] >= '0' && at[-1] <= '9')
		at--;
	if (at == end || end - at > DIGITS_MAX || at - name < 5 || memcmp(at - 4, "-of-", 4) != 0)
		return false;
	out->of = strtoul(at, NULL, 10);
	end = at - 4;
	for (at = end; at > name && at[-1] >= '0' && at[-1] <= '9';)
		at--;
	out->digits = at;
	out->width = (int)(end - at);
	out->number = out->width && out->width <= DIGITS_MAX ? strtoul(at, NULL, 10) : 0;
	return out->width && out->width <= DIGITS_MAX;
}

/* Returns the name with another number, in the arena. */
static const char *renumbered(const char *name, const struct numbered *n, unsigned long number, struct arena *arena)
{
	return arena_printf(arena, "%.*s%0*lu%s", (int)(n->digits - name), name, n->width, number,
	    n->digits + n->width);
}

int numbered_neighbours(const struct listing *listing, const char *name, struct arena *arena, const char **missing)
{
	const char *before, *after, *zero;
	struct numbered n;

	*missing = NULL;
	if (!parse_numbered(name, &n) || n.number > n.of)
		return 0;
	before = renumbered(name, &n, n.number ? n.number - 1 : 0, arena);
	after = renumbered(name, &n, n.number + 1, arena);
	zero = renumbered(name, &n, 0, arena);
	if (!before || !after || !zero)
		return -ENOMEM;
	if (n.number > 1 && !listing_has(listing, before))
		*missing = before;
	else if (n.number + 1 + listing_has(listing, zero) <= n.of && !listing_has(listing, after))
		*missing = after;
	return 0;
}
