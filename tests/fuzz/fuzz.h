/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FUZZ_H
#define GPTQFS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* Called by libFuzzer, or by fuzz_main.c with files if there is no libFuzzer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts if a promise is broken. */
#define FUZZ_CHECK(condition) ((condition) ? (void)0 : __builtin_trap())

#endif
