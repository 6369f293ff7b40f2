/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ESCAPE_H
#define GPTQFS_ESCAPE_H

/*
 * Names of tensors as paths. A name may be any text; its path is always safe, and different names have different paths.
 * The rules, which can be reversed:
 *
 *     the name is split at every '.': model.layers.0 becomes model/layers/0
 *     '/', '%', 0x7f and bytes below 0x20 become % and two hexadecimal digits: %2F %25 %0A; NUL becomes %00
 *     an empty part becomes %
 *     the 32nd part is the whole rest, with '.' as %2E
 *     if the part is then longer than 200 bytes, it is cut there (not within a character or an escape), and % and
 *     the first 32 hexadecimal digits of the SHA-256 of the original part (NUL as C0 80) are appended
 *
 * Everything else is unchanged. So no part contains a '.' or is empty.
 */

#include "base/text.h"

#define ESCAPE_PART_MAX 200 /* longest part without a hash, in bytes; with one, at most 233 */
#define ESCAPE_DEPTH_MAX 32 /* parts of a path */

/* Appends the path for a name of `len` bytes, without '/' at either end. NUL is C0 80 in the name: see json_string. */
void escape_path(const char *name, size_t len, struct text *out);

#endif
