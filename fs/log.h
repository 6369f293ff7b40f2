/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LOG_H
#define GPTQFS_LOG_H

#include <stdbool.h>

/*
 * Messages for the user: to stderr in the foreground; once in the background, from the helper to syslog, and from the
 * server to the helper. Any thread.
 */
__attribute__((format(printf, 1, 2))) void log_line(const char *fmt, ...);

/* The same for messages that are not errors; dropped with -q. */
__attribute__((format(printf, 1, 2))) void log_hint(const char *fmt, ...);

/* Switches to syslog. */
void log_to_syslog(void);

/* Switches to the helper at the other end of a channel. */
void log_to_helper(int channel);

/* Routes libfuse's messages here. With `debug`, its debugging output still goes to stderr. */
void log_install(bool debug, bool quiet);

#endif
