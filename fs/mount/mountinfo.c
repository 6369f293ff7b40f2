/* SPDX-License-Identifier: MIT */
#include "mount/mountinfo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

int mountinfo_open(struct mountinfo *m)
{
	*m = (struct mountinfo){.file = fopen("/proc/self/mountinfo", "re")};
	return m->file ? 0 : -errno;
}

/* Decodes blanks, tabs and backslashes, which are written as \ooo. Works in place. */
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

int mountinfo_next(struct mountinfo *m)
{
	unsigned major_number, minor_number;
	const char *type;

	errno = 0;
	while (getline(&m->line, &m->room, m->file) > 0) {
		if (sscanf(m->line, "%*d %*d %u:%u %*s %4095s", &major_number, &minor_number, m->where) != 3)
			continue;
		m->dev = makedev(major_number, minor_number);
		m->type[0] = m->source[0] = 0;
		type = strstr(m->line, " - ");
		if (type)
			sscanf(type + 3, "%63s %4095s", m->type, m->source);
		unescape(m->where);
		unescape(m->source);
		return 1;
	}
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
