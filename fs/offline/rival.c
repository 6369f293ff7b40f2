/* SPDX-License-Identifier: MIT */
#include "offline/rival.h"

#include <stdio.h>
#include <string.h>

#define PART "-00001-of-00002"

/* True if `text` begins like PART. */
static bool is_like_part(const char *text)
{
	for (const char *c = PART; *c; c++, text++)
		if (*c >= '0' && *c <= '9' ? *text < '0' || *text > '9' : *text != *c)
			return false;
	return true;
}

/* Returns the length of NAME in NAME.safetensors, NAME-00001-of-00002.safetensors and the index of these, else 0. */
static size_t name_length(const char *file)
{
	static const char suffix[] = ".safetensors";
	const char *end = strstr(file, suffix), *rest = end ? end + strlen(suffix) : file;
	const size_t length = end ? (size_t)(end - file) : 0, part = strlen(PART);

	if (*rest && strcmp(rest, ".index.json") != 0)
		return 0;
	return length > part && is_like_part(file + length - part) ? length - part : length;
}

bool rival_of(const struct gptqfs *model, uint64_t dir, const char *file)
{
	static const char *const formats[] = {"%.*s.safetensors", "%.*s.safetensors.index.json"};
	const int name = (int)name_length(file);
	char weights[512];
	struct stat st;

	for (size_t i = 0; name && i < sizeof(formats) / sizeof(*formats); i++) {
		snprintf(weights, sizeof(weights), formats[i], name, file);
		if (gptqfs_lookup(model, dir, weights, &st) == 0)
			return true;
	}
	return false;
}
