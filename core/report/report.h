/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_REPORT_H
#define GPTQFS_REPORT_H

/* What gptqfs says of a model: `info`, `info.json` and README in a mount, and --check. All of it is ASCII. */

#include "base/sheet.h"
#include "report/totals.h"
#include "tensor/source.h"

/* `info` and `info.json`: fixed order, units in the key, new keys only at the end of a part. */
void report_info(const struct checkpoint *c, const struct source *s, bool json, struct text *out);

/* README of a mount. */
void report_readme(const struct checkpoint *c, const struct source *s, struct text *out);

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

/* The module table, `info`, the findings, and what it comes to in three lines; or the same as JSON. */
void report_check(const struct checkpoint *c, const struct source *s, const struct findings *f, bool json,
    struct text *out);

/* ---- what info and --check share ---- */

void report_model(const struct checkpoint *c, const struct source *src, struct sheet *s);
/* The table of modules; JSON only. */
void report_modules(const struct source *src, struct sheet *s);
/* The view that fits the model best ("bf16"). */
const char *report_view(const struct totals *t);

#endif
