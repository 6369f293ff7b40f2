/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_REPORT_H
#define GPTQFS_REPORT_H

/* Reports about a model: `info`, `info.json` and README in a mount, and --check. ASCII only. */

#include "base/sheet.h"
#include "checkpoint/blob.h"
#include "report/totals.h"
#include "tensor/encoding.h"
#include "tensor/join.h"
#include "view/view.h"

/* What to report about. */
struct report {
	const struct plan *plan; /* of the model's views */
	const struct join_refusals *refusals;
	const struct blobs *blobs; /* NULL unless --check verified them */
	/* See struct gptqfs_options; either may be NULL. */
	const char *sandbox, *page_cache;
};

/* Writes `info` or `info.json`: fixed order, units in keys, new keys only at the end of a section. */
void report_info(const struct report *r, bool json, struct text *out);

/* Writes the README of a mount. */
void report_readme(const struct report *r, struct text *out);

/* Collects findings, which reads everything. Returns 0 or -EIO, with the file's name in err. */
int report_examine(const struct report *r, struct findings *out, struct gptqfs_error *err);

/* Writes the module table, `info`, the findings and a three-line summary, or the same as JSON. */
void report_check(const struct report *r, const struct findings *f, bool json, struct text *out);

/* ---- what info and --check share ---- */

void report_model(const struct report *r, struct sheet *s);

/* Returns the view that fits the model best ("bf16"). */
const char *report_view(const struct totals *t);

/* adapters.c: writes what was merged; nothing if `lora` is NULL. */
void report_adapters(const struct lora *lora, struct sheet *s);

/* Writes the adapters shown beside the model; nothing if there are none. */
void report_variants(const struct variants *variants, struct sheet *s);

/* merged.c: computes everything that adapters changed. Returns 0, -EIO or -ENOMEM, with a message. */
int report_examine_merged(const struct plan *p, struct findings *out, struct gptqfs_error *err);

/* modules.c: write the table of modules, as text or as the last member of a JSON sheet. */
void report_modules_text(const struct tensors *ts, struct text *out);
void report_modules_json(const struct tensors *ts, struct sheet *s);

#endif
