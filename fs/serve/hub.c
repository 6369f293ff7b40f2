/* SPDX-License-Identifier: MIT */
#include "serve/hub.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

bool hub_is_name(const char *text)
{
	const size_t org = strspn(text, allowed);
	const size_t name = text[org] == '/' ? strspn(text + org + 1, allowed) : 0;

	return org && name && !text[org + 1 + name] && text[0] != '.' && text[org + 1] != '.';
}

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value && *value ? value : NULL;
}

/* Same order as in huggingface_hub's constants.py. */
char *hub_entry(const char *name)
{
	const int org = (int)strcspn(name, "/");
	const char *dir = variable("HF_HUB_CACHE"), *below = "";
	char *path;

	if (!dir)
		dir = variable("HUGGINGFACE_HUB_CACHE");
	if (!dir) {
		dir = variable("HF_HOME");
		below = "/hub";
	}
	if (!dir) {
		dir = variable("XDG_CACHE_HOME");
		below = "/huggingface/hub";
	}
	if (!dir) {
		dir = variable("HOME");
		below = "/.cache/huggingface/hub";
	}
	if (asprintf(&path, "%s%s/models--%.*s--%s", dir ? dir : "", below, org, name, name + org + 1) < 0)
		return NULL;
	return path;
}
