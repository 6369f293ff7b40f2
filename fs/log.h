/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_LOG_H
#define GPTQFS_LOG_H

#include <stdbool.h>

/*
 * Lines for people. They go to stderr while somebody may be looking at it, and to syslog once the server is in the
 * background. Any thread.
 */
__attribute__((format(printf, 1, 2))) void log_line(const char *fmt, ...);

/* From now on to syslog. */
void log_to_syslog(void);

/* Routes libfuse's own messages here. With `debug`, its debugging output goes to stderr as it is. */
void log_install(bool debug);

#endif
