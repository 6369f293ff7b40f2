/* SPDX-License-Identifier: MIT */
#define FUSE_USE_VERSION 314

#include "log.h"

#include <fuse_log.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#include "gptqfs.h"
#include "serve/channel.h"

static atomic_bool background, no_hints;
static atomic_int helper = -1;

/* Many lines contain file names, which may contain anything. `prefix` is for stderr. */
static void put_line(const char *prefix, char *line)
{
	gptqfs_printable(line);
	if (atomic_load(&helper) >= 0)
		channel_log(atomic_load(&helper), line);
	else if (atomic_load(&background))
		syslog(LOG_NOTICE, "%s", line);
	else
		fprintf(stderr, "%s%s\n", prefix, line);
}

static void write_line(const char *fmt, va_list args)
{
	char line[4096];

	vsnprintf(line, sizeof(line), fmt, args);
	put_line("gptqfs: ", line);
}

void log_line(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	write_line(fmt, args);
	va_end(args);
}

void log_hint(const char *fmt, ...)
{
	va_list args;

	if (atomic_load(&no_hints))
		return;
	va_start(args, fmt);
	write_line(fmt, args);
	va_end(args);
}

void log_to_syslog(void)
{
	openlog("gptqfs", LOG_PID, LOG_DAEMON);
	atomic_store(&background, true);
}

void log_to_helper(int channel)
{
	atomic_store(&helper, channel);
}

/* Its lines have a prefix of their own, and end with a newline, which would be replaced. */
static void fuse_line(enum fuse_log_level level, const char *fmt, va_list args)
{
	char line[1024];

	(void)level;
	vsnprintf(line, sizeof(line), fmt, args);
	line[strcspn(line, "\n")] = 0;
	if (*line)
		put_line("", line);
}

void log_install(bool debug, bool quiet)
{
	atomic_store(&no_hints, quiet);
	if (!debug)
		fuse_set_log_func(fuse_line);
}
