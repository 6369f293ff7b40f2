/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_FINDINGS_H
#define GPTQFS_FINDINGS_H

/* What --check counted by reading everything: one number for each kind of thing, in the order in which kinds first
 * came. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct finding {
	const char *key;  /* "Scales_not_finite" */
	const char *note; /* "fields that readers disagree on", or NULL */
	bool remark;      /* more than none of it is worth a remark */
	uint64_t count;
};

#define FINDINGS_MAX 16

struct findings {
	struct finding list[FINDINGS_MAX];
	size_t count;
};

/* Adds `n` to the count of that kind; with 0 the kind is shown with what it has. Strings must outlive the findings. */
void findings_add(struct findings *f, const struct finding *kind, uint64_t n);

/* The count of that key, 0 if there is none. */
uint64_t findings_count(const struct findings *f, const char *key);

/* The number of kinds that are worth a remark. */
uint64_t findings_remarks(const struct findings *f);

#endif
