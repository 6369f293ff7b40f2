/* SPDX-License-Identifier: MIT */
#ifndef GPTQFS_IMAGE_H
#define GPTQFS_IMAGE_H

/*
 * All that a model shows, as it was without a fault, and the comparison with what it shows under one: attributes,
 * directories, bytes, facts and the reports of --check. Calls count as faults (fault.h) only inside of the model.
 */

#include "gptqfs.h"

/* What became of a run, the worst last. */
enum outcome {
	UNNOTICED, /* everything is as without the fault */
	CLEAN,     /* something failed, with the fault's own code */
	BLAMED,    /* it failed, but the message blames the model */
	WRONG,     /* something else was shown, or something was not given back */
	OUTCOMES
};

struct verdict {
	enum outcome outcome;
	char what[512]; /* the first thing of that kind */
};

/* The verdict becomes at least as bad. */
void verdict_note(struct verdict *v, enum outcome outcome, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same for a call that failed: by its code it is CLEAN, or BLAMED. */
void verdict_code(struct verdict *v, int rc, const char *call, const char *message);

struct image;

/* NULL without memory or if anything fails. */
struct image *image_take(struct gptqfs *m);
void image_compare(const struct image *image, struct gptqfs *m, struct verdict *v);
void image_free(struct image *image);

#endif
