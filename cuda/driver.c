/* SPDX-License-Identifier: MIT */
#include "driver.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	size_t offset;
} functions[] = {
#define DRIVER_ENTRY(name, parameters) {#name, offsetof(struct driver, name)},
    DRIVER_FUNCTIONS(DRIVER_ENTRY)
#undef DRIVER_ENTRY
};

int driver_open(struct driver *d, struct accel_text *why)
{
	void *library = dlopen(DRIVER_LIBRARY, RTLD_NOW | RTLD_LOCAL);

	if (!library) {
		snprintf(why->text, sizeof(why->text), "no CUDA driver: %s", dlerror());
		return -ENOENT;
	}
	for (size_t i = 0; i < sizeof(functions) / sizeof(*functions); i++) {
		void *function = dlsym(library, functions[i].name);

		if (!function) {
			snprintf(why->text, sizeof(why->text), "the CUDA driver (%s) lacks %s", DRIVER_LIBRARY,
			    functions[i].name);
			return -ENOSYS;
		}
		memcpy((char *)d + functions[i].offset, &function, sizeof(function));
	}
	return 0;
}

int driver_check(const struct driver *d, driver_result rc, const char *what, struct accel_text *why)
{
	const char *text = NULL;

	if (rc == 0)
		return 0;
	if (d->cuGetErrorString(rc, &text) || !text)
		text = "unknown error";
	snprintf(why->text, sizeof(why->text), "%s: %s (CUDA error %u)", what, text, rc);
	return rc == DRIVER_OUT_OF_MEMORY ? -ENOMEM : -EIO;
}
