/* SPDX-License-Identifier: MIT */
#include "checkpoint/header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/err.h"

#define START_BYTES 64 /* of a shard: enough to tell whether it is one */

/* Things found in place of a file, recognised by their first bytes. */
static const struct {
	const char *start, *what;
} impostors[] = {
    {"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with: git lfs pull"},
    {"<!doctype html", "an HTML page, not the file itself (a download that required a login?); fetch it again"},
    {"<html", "an HTML page, not the file itself (a download that required a login?); fetch it again"},
    {"<?xml", "an XML document, not the file itself (a failed download?); fetch it again"},
    {"PK\3\4", "a torch pickle or another zip file by its content; convert it to safetensors first"},
    {"GGUF", "a GGUF file by its content; gptqfs needs safetensors"},
};

int header_check(const struct source_file *f, const char *start, size_t len, struct gptqfs_error *err)
{
	while (len && strchr(" \t\r\n", *start) && *start)
		start++, len--;
	for (size_t i = 0; i < sizeof(impostors) / sizeof(*impostors); i++) {
		const size_t n = strlen(impostors[i].start);

		if (len >= n && strncasecmp(start, impostors[i].start, n) == 0)
			return err_set(err, -EBADMSG, "%.1000s: %s", f->name, impostors[i].what);
	}
	return 0;
}

/* Returns the length of the header, from the first bytes of the file. */
static int header_length(const struct source_file *f, const unsigned char *start, uint64_t *len,
    struct gptqfs_error *err)
{
	const uint64_t size = (uint64_t)f->stat.st_size;
	int rc = header_check(f, (const char *)start, size < START_BYTES ? size : START_BYTES, err);

	*len = 0;
	if (rc == 0 && size < 8)
		rc = err_set(err, -EBADMSG, "%.1000s: %llu bytes, too short for a safetensors file; fetch it again",
		    f->name, (unsigned long long)size);
	if (rc)
		return rc;
	for (int i = 7; i >= 0; i--)
		*len = *len << 8 | start[i];
	if (*len > SAFETENSORS_HEADER_MAX || *len > size - 8)
		return err_set(err, -EBADMSG,
		    "%.1000s: header of %llu bytes, expected at most %llu (file of %llu bytes, limit %u); this is not a "
		    "safetensors file, or it is truncated: fetch it again",
		    f->name, (unsigned long long)*len,
		    (unsigned long long)(size - 8 < SAFETENSORS_HEADER_MAX ? size - 8 : SAFETENSORS_HEADER_MAX),
		    (unsigned long long)size, SAFETENSORS_HEADER_MAX);
	return 0;
}

int header_read(const struct source_file *f, struct arena *arena, struct safetensors *out, struct gptqfs_error *err)
{
	const uint64_t size = (uint64_t)f->stat.st_size;
	unsigned char start[START_BYTES] = {0};
	struct safetensors_input in = {.name = f->name, .file_size = size};
	uint64_t len = 0;
	char *header;
	int rc = source_file_load(f, start, size < START_BYTES ? size : START_BYTES, 0, err);

	if (rc == 0)
		rc = header_length(f, start, &len, err);
	if (rc)
		return rc;
	header = malloc(len + 1);
	if (!header)
		return err_memory(err);
	rc = source_file_load(f, header, len, 8, err);
	in.header = header;
	in.len = len;
	if (rc == 0)
		rc = safetensors_parse(&in, arena, out, err);
	free(header);
	return rc;
}
