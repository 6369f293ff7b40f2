/* SPDX-License-Identifier: MIT */

/* cuda/dequant.cu unchanged; mutation tests put another one first in the search path. */

#include "kernels.h"

#include <stddef.h>
#include <string.h>

#include "shim.h"
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmissing-prototypes"
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include <dequant.cu>
#pragma GCC diagnostic pop

#define CALLER(name)                                \
	static void call_##name(void *slice)        \
	{                                           \
		name(*(const struct slice *)slice); \
	}
#define CALLERS(name, bits, packing) CALLER(name##_f16) CALLER(name##_bf16) CALLER(name##_f32)

KERNELS(CALLERS)
CALLER(expand_groups)

static const struct {
	const char *name;
	kernel_fn *call;
} kernels[] = {
#define ENTRY(name) {#name, call_##name},
#define ENTRIES(name, bits, packing) ENTRY(name##_f16) ENTRY(name##_bf16) ENTRY(name##_f32)
    KERNELS(ENTRIES) ENTRY(expand_groups)};

kernel_fn *kernel_find(const char *name)
{
	for (size_t i = 0; i < sizeof(kernels) / sizeof(*kernels); i++)
		if (strcmp(kernels[i].name, name) == 0)
			return kernels[i].call;
	return NULL;
}
