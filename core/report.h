/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_REPORT_H
#define GPTQFS_REPORT_H

/* What gptqfs says of a model: `info` in a mount, and --check. */

#include "source.h"
#include "text.h"

/* `info`: Key: value lines in a fixed order, units in the key, new keys only at the end of a part. */
void report_info(const struct checkpoint *c, const struct source *s, struct text *out);

/* README of a mount. */
void report_readme(const struct checkpoint *c, struct text *out);

/* What --check found by reading all zeros, all scales and all stored floats. */
struct findings {
	uint64_t zero_fields;     /* zeros read */
	uint64_t zero_max_fields; /* v1 fields that hold the greatest value, which readers decode differently */
	uint64_t zeros_uneven;    /* zeros that are not the middle value in modules whose first row is */
	uint64_t scales;
	uint64_t scales_not_finite;
	uint64_t overflow; /* stored values that are finite but not as fp16 */
	uint64_t vanish;   /* stored values that are not zero but are as fp16 */
};

/* Reads everything. Returns 0 or -EIO, with the file's name in err. */
int report_examine(struct checkpoint *c, const struct source *s, struct findings *out, struct gptqfs_error *err);

/* The module table, the findings and the warnings. */
void report_text(const struct checkpoint *c, const struct source *s, const struct findings *f, struct text *out);
void report_json(const struct checkpoint *c, const struct source *s, const struct findings *f, struct text *out);

#endif
