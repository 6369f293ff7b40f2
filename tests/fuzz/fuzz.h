/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FUZZ_H
#define GPTQFS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

/* What libFuzzer calls; fuzz_main.c calls it with files where there is no libFuzzer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken promise ends the run. */
#define FUZZ_CHECK(condition) ((condition) ? (void)0 : __builtin_trap())

#endif
