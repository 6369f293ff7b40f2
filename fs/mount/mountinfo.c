/* SPDX-License-Identifier: MIT */
#include "mount/mountinfo.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

int mountinfo_open(struct mountinfo *m)
{
	*m = (struct mountinfo){.file = fopen("/proc/self/mountinfo", "re")};
	return m->file ? 0 : -errno;
}

/* Decodes blanks, tabs, newlines and backslashes, which are written as \ooo. Works in place. */
static void unescape(char *path)
{
	char *to = path;
	unsigned octal;

	for (const char *from = path; *from; to++) {
		if (*from == '\\' && sscanf(from, "\\%3o", &octal) == 1) {
			*to = (char)octal;
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

/* Finds the fields of the line, whose number and length are up to the kernel. Returns false if some are missing. */
static bool split_line(struct mountinfo *m)
{
	enum { DEV = 2, WHERE = 4, FIXED = 6 };
	char *rest = m->line, *fields[FIXED];
	unsigned major_number, minor_number;

	/* White space that is not escaped may be part of a name. */
	for (size_t i = 0; i < FIXED; i++)
		fields[i] = strsep(&rest, " ");
	if (!rest || sscanf(fields[DEV], "%u:%u", &major_number, &minor_number) != 2)
		return false;
	while (rest && strcmp(strsep(&rest, " "), "-") != 0)
		;
	m->dev = makedev(major_number, minor_number);
	m->where = fields[WHERE];
	m->type = strsep(&rest, " ");
	m->source = strsep(&rest, " ");
	if (!m->source)
		return false;
	unescape(fields[WHERE]);
	unescape(m->source);
	return true;
}

int mountinfo_next(struct mountinfo *m)
{
	errno = 0;
	while (getline(&m->line, &m->room, m->file) > 0)
		if (split_line(m))
			return 1;
	/* What is looked for may be among the lines not read. */
	return feof(m->file) ? 0 : errno ? -errno : -EIO;
}

const char *mountinfo_model(const struct mountinfo *m)
{
	const size_t prefix = strlen(MOUNTINFO_EROFS);

	if (strcmp(m->type, "fuse.gptqfs") == 0)
		return m->source;
	if (strcmp(m->type, "erofs") == 0 && strncmp(m->source, MOUNTINFO_EROFS, prefix) == 0)
		return m->source + prefix;
	return NULL;
}

void mountinfo_close(struct mountinfo *m)
{
	free(m->line);
	fclose(m->file);
}
