/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FINDINGS_H
#define GPTQFS_FINDINGS_H

/* The counts of --check: a number per kind of finding, in the order of first occurrence. */

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/dtype.h"

struct finding {
	const char *key;  /* "Scales_not_finite" */
	const char *note; /* "fields that readers disagree on", or NULL */
	bool remark;      /* a count above 0 is worth a remark */
	uint64_t count;
};

#define FINDINGS_MAX 16

struct findings {
	struct finding list[FINDINGS_MAX];
	size_t count;
};

/* Adds `n` to the count of a kind; even 0 makes the kind appear. Strings must outlive the findings. */
void findings_add(struct findings *f, const struct finding *kind, uint64_t n);

/* The scales of a weight, counted while they are read. */
struct scale_counts {
	uint64_t read, not_finite, zero;
};

static inline void scale_count(struct scale_counts *c, float scale)
{
	c->read++;
	c->not_finite += !isfinite(scale);
	c->zero += scale == 0;
}

/* Counts an array of scales. */
void scale_count_all(struct scale_counts *c, const void *scales, uint64_t count, enum dtype dtype);

/* Adds what was counted of one weight. */
void findings_add_scales(struct findings *f, const struct scale_counts *c);

/* Returns the count of that key, 0 if there is none. */
uint64_t findings_count(const struct findings *f, const char *key);

/* Returns the number of kinds worth a remark. */
uint64_t findings_remarks(const struct findings *f);

#endif
