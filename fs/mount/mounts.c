/* SPDX-License-Identifier: MIT */
#include "mount/mounts.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "gptqfs.h"
#include "log.h"
#include "mount/mountinfo.h"
#include "size.h"

/* One mount. What its server does not report is empty, or 0. */
struct listed {
	const char *where, *source;
	dev_t dev;
	bool erofs;
	char view[256];
	long pid;
	uint64_t bytes; /* of all files it shows */
	const char *state;
};

/* ---- asking ---- */

static void ask(const char *where, const char *name, char *value, size_t size)
{
	const ssize_t n = getxattr(where, name, value, size - 1);

	value[n > 0 ? n : 0] = 0;
}

/* The kernel answers for the dead server of an EROFS mount. */
static bool has_ended(long pid)
{
	char path[64], target[8];

	snprintf(path, sizeof(path), "/proc/%ld/exe", pid);
	return readlink(path, target, sizeof(target)) < 0 && errno == ENOENT;
}

static void examine(struct listed *l)
{
	char pid[32];
	struct statvfs fs;
	struct stat st;

	l->state = "served";
	if (stat(l->where, &st) < 0 || statvfs(l->where, &fs) < 0) {
		/* Another user's mount without allow_other cannot be looked into. */
		l->state = errno == ENOTCONN ? "stale" : errno == EACCES ? "private" : "unknown";
		return;
	}
	if (st.st_dev != l->dev) {
		l->state = "hidden"; /* by another mount */
		return;
	}
	l->bytes = (uint64_t)fs.f_blocks * fs.f_frsize;
	ask(l->where, "user.gptqfs.view", l->view, sizeof(l->view));
	/* It may be any user's program that says so. */
	gptqfs_printable(l->view);
	ask(l->where, "user.gptqfs.pid", pid, sizeof(pid));
	l->pid = strtol(pid, NULL, 10);
	if (l->erofs && l->pid > 0 && has_ended(l->pid))
		l->state = "stale";
}

/* ---- telling ---- */

/* Returns the length of the UTF-8 character at `text`, or 0 if there is none. */
static size_t character(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;
	const size_t length = c[0] < 0x80                   ? 1
	                      : c[0] >= 0xc2 && c[0] < 0xe0 ? 2
	                      : c[0] >= 0xe0 && c[0] < 0xf0 ? 3
	                      : c[0] >= 0xf0 && c[0] < 0xf5 ? 4
	                                                    : 0;

	for (size_t i = 1; i < length; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	/* Long forms, surrogates, and beyond Unicode. */
	if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] >= 0xa0) || (c[0] == 0xf0 && c[1] < 0x90) ||
	    (c[0] == 0xf4 && c[1] >= 0x90))
		return 0;
	return length;
}

/* Bytes of a path that are not UTF-8 become \udcXX, which Python and others turn back into bytes. */
static void print_json(const char *text)
{
	putchar('"');
	while (*text) {
		const size_t length = character(text);

		if (!length)
			printf("\\udc%02x", (unsigned char)*text);
		else if ((unsigned char)*text < 0x20 || *text == '"' || *text == '\\' || *text == 0x7f)
			printf("\\u%04x", (unsigned)*text);
		else
			printf("%.*s", (int)length, text);
		text += length ? length : 1;
	}
	putchar('"');
}

static void print_object(const struct listed *l, bool first)
{
	printf("%s\n{\"mountpoint\": ", first ? "" : ",");
	print_json(l->where);
	printf(", \"model\": ");
	print_json(l->source);
	printf(", \"view\": ");
	if (*l->view)
		print_json(l->view);
	else
		printf("null");
	printf(", \"state\": \"%s\", \"pid\": ", l->state);
	if (l->pid)
		printf("%ld", l->pid);
	else
		printf("null");
	printf(", \"bytes\": %" PRIu64 "}", l->bytes);
}

static void print_path(const char *path, const char *end)
{
	char line[PATH_MAX];

	snprintf(line, sizeof(line), "%s", path);
	gptqfs_printable(line);
	printf("%s%s", line, end);
}

static void print_row(const struct listed *l)
{
	char size[SIZE_TEXT_MAX], pid[24] = "-";

	if (l->pid)
		snprintf(pid, sizeof(pid), "%ld", l->pid);
	printf("%-8s %7s %9s  %-12s ", l->state, pid, l->bytes ? size_text(size, l->bytes) : "-",
	    *l->view ? l->view : "-");
	print_path(l->where, "  ");
	print_path(l->source, "\n");
}

enum exit_code mounts_list(bool json)
{
	struct mountinfo m;
	struct listed l;
	size_t count = 0;
	int rc = mountinfo_open(&m);

	if (json)
		printf("[");
	while (rc == 0 && (rc = mountinfo_next(&m)) == 1) {
		rc = 0;
		l = (struct listed){.where = m.where,
		    .source = mountinfo_model(&m),
		    .dev = m.dev,
		    .erofs = strcmp(m.type, "erofs") == 0};
		if (!l.source)
			continue;
		examine(&l);
		if (!json && !count)
			printf("%-8s %7s %9s  %-12s %s\n", "state", "pid", "size", "view", "mountpoint  model");
		if (json)
			print_object(&l, !count);
		else
			print_row(&l);
		count++;
	}
	if (m.file)
		mountinfo_close(&m);
	if (json)
		printf("%s]\n", count ? "\n" : "");
	if (rc < 0)
		log_line("/proc/self/mountinfo: %s", strerror(-rc));
	else if (fflush(stdout))
		log_line("standard output: %s", strerror(errno));
	else
		return EXIT_OK;
	return EXIT_SERVE;
}
