/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_SIZE_H
#define GPTQFS_SIZE_H

#include <stdint.h>

#define SIZE_TEXT_MAX 24

/* Writes "1.23 GB": three digits and a decimal unit. Returns `text`. */
const char *size_text(char text[SIZE_TEXT_MAX], uint64_t bytes);

#endif
