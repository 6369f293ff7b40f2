/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

int err_set(struct gptqfs_error *err, int rc, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return rc;
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	for (char *p = err->text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	return rc;
}

int err_memory(struct gptqfs_error *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}
