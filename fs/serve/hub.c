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

/* Same order as in huggingface_hub's constants.py, which expands a tilde: no shell does that in files of settings. */
char *hub_entry(const char *name)
{
	const int org = (int)strcspn(name, "/");
	const char *dir = variable("HF_HUB_CACHE"), *below = "", *home = variable("HOME");
	bool tilde;
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
		dir = home;
		below = "/.cache/huggingface/hub";
	}
	tilde = home && dir && dir[0] == '~' && (dir[1] == '/' || !dir[1]);
	if (asprintf(&path, "%s%s%s/models--%.*s--%s", tilde ? home : "", dir ? dir + tilde : "", below, org, name,
		name + org + 1) < 0)
		return NULL;
	return path;
}
