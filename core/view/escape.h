/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_ESCAPE_H
#define GPTQFS_ESCAPE_H

/*
 * Names of tensors as paths. A name may be any text; a path made of it has no surprises, and two names never make the
 * same path. How, so that anybody can go back:
 *
 *     the name is split at every '.': model.layers.0 is model/layers/0
 *     '/' and '%', and bytes below 0x20 and 0x7f, are written as % and two digits: %2F %25 %0A; NUL is %00
 *     an empty part is %
 *     the 32nd part is all the rest; a '.' in it is %2E
 *     a part that is then longer than 200 bytes is cut there (not within a character or an escape); it ends in % and
 *     the first 32 hexadecimal digits of the SHA-256 of the part as it was (NUL as C0 80), and is so longer than 200
 *
 * Everything else stays as it is. So no part holds a '.', and none is empty.
 */

#include "base/text.h"

#define ESCAPE_PART_MAX 200 /* bytes of a part that is not cut; with a hash it has at most 233 */
#define ESCAPE_DEPTH_MAX 32 /* parts of a path */

/* Appends the path of a name of `len` bytes, without '/' at either end. NUL is C0 80: see json_string. */
void escape_path(const char *name, size_t len, struct text *out);

#endif
