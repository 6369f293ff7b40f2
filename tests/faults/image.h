/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_IMAGE_H
#define GPTQFS_IMAGE_H

/*
 * Everything a model shows without a fault, and the comparison with a run under faults: attributes, directories, bytes,
 * facts and the reports of --check. Calls count (fault.h) only inside of the library.
 */

#include "gptqfs.h"

/* The result of a run, the worst last. */
enum outcome {
	UNNOTICED, /* same as without the fault */
	CLEAN,     /* failed with the fault's own code */
	BLAMED,    /* failed, but the message blames the model */
	WRONG,     /* showed something else, or leaked */
	OUTCOMES
};

struct verdict {
	enum outcome outcome;
	char what[512]; /* the first such problem */
};

/* Makes the verdict at least this bad. */
void verdict_note(struct verdict *v, enum outcome outcome, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same for a failed call: CLEAN or BLAMED, by its code. */
void verdict_code(struct verdict *v, int rc, const char *call, const char *message);

struct image;

/* Returns NULL if out of memory or if anything fails. */
struct image *image_take(struct gptqfs *m);
void image_compare(const struct image *image, struct gptqfs *m, struct verdict *v);
void image_free(struct image *image);

#endif
