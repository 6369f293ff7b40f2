/* SPDX-License-Identifier: MIT */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

int err_set(struct gptqfs_error *err, int rc, const char *fmt, ...)
{
	va_list args;

	if (!err)
		return rc;
	va_start(args, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	text_disarm(err->text);
	return rc;
}

void gptqfs_printable(char *line)
{
	text_disarm(line);
}

int err_memory(struct gptqfs_error *err)
{
	return err_set(err, -ENOMEM, "out of memory");
}

static int system_code(int error)
{
	switch (error) {
	case ENOENT:
	case ENOTDIR:
	case EACCES:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
		return -error;
	case EPERM:
	case ELOOP:
	case ENAMETOOLONG:
		return -EACCES;
	default:
		return -EIO;
	}
}

int err_system(struct gptqfs_error *err, int error, const char *fmt, ...)
{
	const char *remedy = error == EMFILE   ? "; raise the limit of open files (ulimit -n)"
	                     : error == EACCES ? "; make it readable for this user"
	                                       : "";
	char what[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof(what), fmt, args);
	va_end(args);
	return err_set(err, system_code(error), "%s: %s%s", strerror(error), what, remedy);
}

int err_write(struct gptqfs_error *err, struct text *text, FILE *out, const char *what)
{
	int rc = 0;

	if (text->failed)
		rc = err_memory(err);
	else if (fwrite(text->data, 1, text->len, out) != text->len || fflush(out))
		rc = err_set(err, -EIO, "%s cannot be written: %s", what, strerror(errno));
	text_free(text);
	return rc;
}
